import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdapterRouter, SqlAdapterRegistry } from "../../src/router/index.js";
import type { Store } from "../../src/store/index.js";
import { createHarness, runTs, type StoreHarness } from "../setup/index.js";

describe("two processes on one PostgreSQL", () => {
  let harness: StoreHarness;
  let store: Store;
  beforeAll(async () => {
    harness = createHarness("postgres");
    store = await harness.open();
  });
  afterAll(() => harness.reset());

  it("never give a version twice nor have two adapters active, and the history has no gap", async () => {
    const url = (await harness.database()) as string;
    const each = 12;
    const children = [1, 2].map(() => runTs(new URL("./children/activate.ts", import.meta.url), [url, "contended", String(each)]));
    for (const child of children) await child.waitFor("ready");
    for (const { child } of children) child.stdin!.write("go\n");
    const idsOf = async ({ waitFor }: (typeof children)[number]): Promise<string[]> => {
      const ids: string[] = [];
      while (ids.length < each) ids.push(await waitFor("activated "));
      return ids;
    };
    const ids = (await Promise.all(children.map(idsOf))).flat();
    expect(await Promise.all(children.map(({ ended }) => ended))).toEqual([0, 0]);
    expect(ids.sort()).toEqual(Array.from({ length: 2 * each }, (_, index) => `contended@v${index + 1}`).sort());

    const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }) });
    const [active, ...others] = await router.listAdapters({ domain: "contended", status: "active" });
    expect(others).toEqual([]);
    const history = await router.history("contended");
    expect(history).toHaveLength(2 * each);
    expect(history.at(-1)).toMatchObject({ adapterId: active!.id, endedAt: null });
    for (const [index, period] of history.slice(1).entries()) expect(period.startedAt).toBe(history[index]!.endedAt);
    expect(new Set(history.map(({ reason }) => reason)).size).toBe(2);
    await router.refresh();
    expect(router.activeAdapter("contended")?.id).toBe(active!.id);
  });
});
