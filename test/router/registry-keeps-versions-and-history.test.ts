import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AdapterRegistry, AdapterRouter, MemoryAdapterRegistry, SqlAdapterRegistry } from "../../src/router/index.js";
import type { Store } from "../../src/store/index.js";
import type { AdapterInput } from "../../src/types/adapter.js";
import { describeEachStore } from "../setup/index.js";

function input(name: string, over: Partial<AdapterInput> = {}): AdapterInput {
  return { name, domain: name, path: `adapters/${name}`, baseModel: "tiny", ...over };
}

async function registered(registry: AdapterRegistry, name: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index++) ids.push((await registry.register(input(name))).id);
  return ids;
}

function promises(getRegistry: () => AdapterRegistry): void {
  it("versions count up by name, and a pinned one may leap", async () => {
    const registry = getRegistry();
    expect(await registry.nextVersion("counted")).toBe(1);
    expect((await registry.register(input("counted"))).id).toBe("counted@v1");
    expect((await registry.register(input("counted", { version: 7 }))).version).toBe(7);
    expect((await registry.register(input("counted"))).id).toBe("counted@v8");
    expect(await registry.nextVersion("counted")).toBe(9);
    expect(await registry.nextVersion("other")).toBe(1);
  });

  it("gives back what was registered, strange texts mended", async () => {
    const registry = getRegistry();
    const adapter = await registry.register(
      input("whole", {
        metrics: { perplexity: 1.02, exact: 0.875 },
        lineage: { datasetId: "d1", jobId: "j1", parentAdapterId: "whole@v0" },
        examples: ["Wie hoch ist die Gebühr? 😀", "nul \u0000 byte", "half \ud83d pair"],
        sha256: "abc",
        metadata: { note: ["a", 1, null] },
      }),
    );
    const read = await registry.get("whole@v1");
    expect(read).toEqual(adapter);
    expect(read).toMatchObject({
      status: "candidate",
      metrics: { perplexity: 1.02, exact: 0.875 },
      lineage: { datasetId: "d1", jobId: "j1", parentAdapterId: "whole@v0" },
      examples: ["Wie hoch ist die Gebühr? 😀", "nul  byte", "half \ufffd pair"],
      metadata: { note: ["a", 1, null] },
      activatedAt: null,
    });
  });

  it("the same version again is the same, and another content under it a conflict", async () => {
    const registry = getRegistry();
    const pinned = input("immutable", { version: 1, sha256: "abc" });
    const first = await registry.register(pinned);
    expect(await registry.register({ ...pinned, metrics: { exact: 1 } })).toEqual(first);
    for (const over of [{ path: "elsewhere" }, { sha256: "def" }, { baseModel: "other" }, { domain: "other" }]) {
      await expect(registry.register({ ...pinned, ...over })).rejects.toMatchObject({
        code: "adapter_state_conflict",
        details: { id: "immutable@v1", differing: Object.keys(over) },
      });
    }
  });

  it.each(["a/../b", ".", "", "ＢＡＳＥ", "x".repeat(10_000)])("refuses the name %j", async (name) => {
    await expect(getRegistry().register(input(name, { domain: "fine" }))).rejects.toMatchObject({
      code: "input_invalid",
      message: expect.stringContaining("name:"),
    });
  });

  it("one adapter serves a domain at a time, and the history says who, when and why", async () => {
    const registry = getRegistry();
    const [v1, v2] = await registered(registry, "served", 2);
    expect((await registry.activate(v1!, { reason: "first" })).previous).toBeNull();
    const change = await registry.activate(v2!, { reason: "passed the gate" });
    expect([change.active?.id, change.previous?.id]).toEqual([v2, v1]);
    await registry.activate(v2!);
    await registry.deactivate(v1!);
    await registry.deactivate(v2!, { reason: "maintenance" });
    expect((await registry.list({ domain: "served" })).map(({ status }) => status)).toEqual(["retired", "retired"]);
    const history = await registry.history("served");
    expect(history.map(({ adapterId, reason }) => [adapterId, reason])).toEqual([
      [v1, "first"],
      [v2, "passed the gate"],
      [null, "maintenance"],
    ]);
    expect(history.map(({ endedAt }) => endedAt !== null)).toEqual([true, true, false]);
    expect(history[1]!.startedAt).toBe(history[0]!.endedAt);
    expect((await registry.get(v2!)).activatedAt).toBe(history[1]!.startedAt);
  });

  it("rolls back step by step to the base model, and undoes a deactivation", async () => {
    const registry = getRegistry();
    const [v1, v2, v3] = await registered(registry, "stepwise", 3);
    for (const id of [v1, v2, v3]) await registry.activate(id!);
    const steps: (string | null)[] = [];
    for (let step = 0; step < 4; step++) steps.push((await registry.rollback("stepwise")).active?.id ?? null);
    expect(steps).toEqual([v2, v1, null, null]);
    await registry.activate(v3!);
    await registry.deactivate(v3!);
    expect((await registry.rollback("stepwise")).active?.id).toBe(v3);
    expect((await registry.rollback("never-served")).active).toBeNull();
  });

  it("passes over rejected and withdrawn versions, and never lets one serve again", async () => {
    const registry = getRegistry();
    const [v1, v2, v3, v4] = await registered(registry, "passed-over", 4);
    for (const id of [v1, v2, v3, v4]) await registry.activate(id!);
    await registry.revoke(v3!, "retired", "erasure");
    await registry.revoke(v4!, "rejected", "wrong answers");
    expect((await registry.get(v4!)).status).toBe("rejected");
    expect((await registry.history("passed-over")).at(-1)).toMatchObject({ adapterId: null, endedAt: null });
    expect((await registry.rollback("passed-over")).active?.id).toBe(v2);
    for (const id of [v3, v4])
      await expect(registry.activate(id!)).rejects.toMatchObject({ code: "adapter_state_conflict", details: { id } });
    expect((await registry.list({ domain: "passed-over", status: "active" })).map(({ id }) => id)).toEqual([v2]);
  });

  it("names an adapter that nobody registered", async () => {
    const registry = getRegistry();
    for (const call of ["get", "activate", "deactivate"] as const) {
      await expect(registry[call]("ghost@v1")).rejects.toMatchObject({ code: "adapter_not_found", details: { id: "ghost@v1" } });
    }
    await expect(registry.revoke("ghost@v1", "rejected", "why")).rejects.toMatchObject({ code: "adapter_not_found" });
  });

  it("compares two versions side by side", async () => {
    const router = new AdapterRouter({ registry: getRegistry() });
    const a = await router.registerAdapter(
      input("compared", { metrics: { exact: 0.5, loss: 2 }, lineage: { datasetId: "d1" }, examples: ["one", "two"] }),
    );
    const b = await router.registerAdapter(
      input("compared", {
        metrics: { exact: 0.75, speed: 9 },
        lineage: { datasetId: "d2", parentAdapterId: a.id },
        examples: ["two", "three", "four"],
      }),
    );
    expect(await router.compareAdapters(a.id, b.id)).toEqual({
      a,
      b,
      metrics: [
        { name: "exact", a: 0.5, b: 0.75, difference: 0.25 },
        { name: "loss", a: 2, b: null, difference: null },
        { name: "speed", a: null, b: 9, difference: null },
      ],
      differences: [
        { name: "datasetId", a: "d1", b: "d2" },
        { name: "parentAdapterId", a: null, b: a.id },
      ],
      examples: { a: 2, b: 3, shared: 1 },
    });
  });
}

describe("the registry (memory)", () => {
  const registry = new MemoryAdapterRegistry();
  promises(() => registry);
});

describeEachStore("the registry", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  promises(() => new SqlAdapterRegistry({ store }));

  it("keeps adapters and history over a restart, and routes as before", async () => {
    const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }) });
    const { id } = await router.registerAdapter(
      input("kept", { examples: ["Which key opens the chapel?", "What key do I need for the chapel?"] }),
    );
    await router.activateAdapter(id);
    const before = await router.route("I need the key of the chapel");
    await router.close();
    await store.close();
    store = await harness.open();
    const reopened = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }) });
    const after = await reopened.route("I need the key of the chapel");
    expect(before.adapterId).toBe(id);
    expect([after.adapterId, after.strategy]).toEqual([before.adapterId, before.strategy]);
  });

  it("commits or vanishes with the caller's transaction, and routes by it after refresh", async () => {
    const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }), refreshIntervalMs: 0 });
    await router.refresh();
    const register = (commit: boolean) =>
      store.db.transaction().execute(async (transaction) => {
        const { id } = await router.registerAdapter(input("together"), { transaction });
        await router.activateAdapter(id, { transaction });
        expect((await router.getAdapter(id, { transaction })).status).toBe("active");
        if (!commit) throw new Error("undone");
        return id;
      });
    await expect(register(false)).rejects.toThrow("undone");
    expect(await router.listAdapters({ name: "together" })).toEqual([]);
    expect(await router.history("together")).toEqual([]);
    const id = await register(true);
    expect(router.activeAdapter("together")).toBeNull();
    await router.refresh();
    expect(router.activeAdapter("together")?.id).toBe(id);
  });

  it("a failed registration leaves the caller's transaction usable", async () => {
    const registry = new SqlAdapterRegistry({ store });
    await registry.register(input("usable", { version: 1 }));
    await store.db.transaction().execute(async (transaction) => {
      await expect(registry.register(input("usable", { version: 1, path: "other" }), { transaction })).rejects.toMatchObject({
        code: "adapter_state_conflict",
      });
      await registry.register(input("usable"), { transaction });
    });
    expect((await registry.list({ name: "usable" })).map(({ id }) => id)).toEqual(["usable@v1", "usable@v2"]);
  });

  it("twenty registrations and activations at once give twenty versions, one of them active", async () => {
    const registries = [new SqlAdapterRegistry({ store }), new SqlAdapterRegistry({ store })];
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const registry = registries[index % 2]!;
        const { id } = await registry.register(input("crowd"));
        await registry.activate(id);
        return id;
      }),
    );
    expect(new Set(ids).size).toBe(20);
    const registry = registries[0]!;
    const active = await registry.list({ domain: "crowd", status: "active" });
    const history = await registry.history("crowd");
    expect(active).toHaveLength(1);
    expect(history).toHaveLength(20);
    expect(history.filter(({ endedAt }) => endedAt === null).map(({ adapterId }) => adapterId)).toEqual([active[0]!.id]);
    for (const [index, period] of history.slice(1).entries()) expect(period.startedAt).toBe(history[index]!.endedAt);
  });

  afterAll(async () => {
    await store.close();
  });
});
