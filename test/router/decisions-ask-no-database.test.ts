import { beforeAll, expect, it, vi } from "vitest";
import { AdapterRouter, SqlAdapterRegistry } from "../../src/router/index.js";
import type { Store } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";
import { DOMAINS } from "./domains.js";

describeEachStore("a router over a database", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });

  it("decides a hundred times, by rule, likeness, canary and default, without one statement", async () => {
    const router = new AdapterRouter({
      registry: new SqlAdapterRegistry({ store }),
      settings: { rules: [{ domain: "harbour", keywords: ["crane"], weight: 2 }] },
    });
    for (const { name, examples } of DOMAINS.slice(0, 2)) {
      const input = { name, domain: name, path: `adapters/${name}`, baseModel: "tiny", examples };
      await router.activateAdapter((await router.registerAdapter(input)).id);
      await router.startCanary((await router.registerAdapter(input)).id, { share: 0.5 });
    }
    await router.refresh();
    // what is re-read behind the back of a decision, after refreshIntervalMs, is not its business
    using _clock = vi.spyOn(performance, "now").mockReturnValue(performance.now());
    using connect = vi.spyOn(store.pool, "connect");
    using query = vi.spyOn(store.pool, "query");
    const strategies = new Set<string>();
    for (let turn = 0; turn < 100; turn++) {
      const text = ["Is the crane free?", "Can you tell me the closing time of the planetarium?", "Hello"][turn % 3]!;
      strategies.add((await router.route(text, { subjectId: `user-${turn}` })).strategy);
    }
    expect([...strategies].sort()).toEqual(["default", "domain", "embedding"]);
    expect([connect.mock.calls.length, query.mock.calls.length]).toEqual([0, 0]);
    // the spies would have seen a statement
    await router.listAdapters();
    expect(connect.mock.calls.length + query.mock.calls.length).toBeGreaterThan(0);
    await router.close();
  });
});
