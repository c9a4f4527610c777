import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AdapterRegistry, AdapterRouter, MemoryAdapterRegistry, SqlAdapterRegistry } from "../../src/router/index.js";
import type { Store } from "../../src/store/index.js";
import { createHarness, describeEachStore, runTs, type StoreHarness, type TsProcess } from "../setup/index.js";

let domains = 0;

/** A domain with an active v1 and a candidate v2. */
async function twoVersions(registry: AdapterRegistry, { active = true } = {}) {
  const domain = `trial-${domains++}`;
  const register = () =>
    registry.register({ name: domain, domain, path: `adapters/${domain}`, baseModel: "tiny", examples: [`${domain} key`] });
  const [incumbent, newcomer] = [(await register()).id, (await register()).id];
  if (active) await registry.activate(incumbent);
  return { domain, incumbent, newcomer };
}

async function answers(router: AdapterRouter, domain: string, people: number, prefix = "user"): Promise<(string | null)[]> {
  const given: (string | null)[] = [];
  for (let person = 0; person < people; person++)
    given.push((await router.route("?", { domain, subjectId: `${prefix}-${person}` })).adapterId);
  return given;
}

function promises(getRegistry: () => AdapterRegistry): void {
  it("get their share of the people, and the same ones every time", async () => {
    const registry = getRegistry();
    const { domain, incumbent, newcomer } = await twoVersions(registry);
    const router = new AdapterRouter({ registry });
    const canary = await router.startCanary(newcomer, { share: 0.1 });
    expect(canary).toMatchObject({ domain, adapterId: newcomer, incumbentId: incumbent, share: 0.1, status: "running", endedAt: null });
    expect((await registry.get(newcomer)).status).toBe("canary");
    const first = await answers(router, domain, 2_000);
    // 2,000 times 10 %: outside of 150..250 once in ten thousand
    const tried = first.filter((id) => id === newcomer).length;
    expect(tried).toBeGreaterThan(150);
    expect(tried).toBeLessThan(250);
    expect(new Set(first)).toEqual(new Set([incumbent, newcomer]));
    expect(await answers(router, domain, 2_000)).toEqual(first);
    const decision = await router.route("?", { domain, subjectId: `user-${first.indexOf(newcomer)}` });
    expect(decision).toMatchObject({ strategy: "domain", domain, canary: { id: canary.id, arm: "canary" } });
    expect(decision.propensity).toBe(1);
    expect(router.explain(decision.id).reasons).toContain(
      `A canary of ${domain} runs (${canary.id}): ${newcomer} on trial answers this user.`,
    );
    expect(router.status().domains).toContainEqual({
      domain,
      adapterId: incumbent,
      isEmbedded: expect.any(Boolean),
      canary: { id: canary.id, adapterId: newcomer, share: 0.1 },
    });
    await router.close();
  });

  it("choose other people in another trial, and by chance where nobody is named", async () => {
    const registry = getRegistry();
    const one = await twoVersions(registry);
    const other = await twoVersions(registry);
    const router = new AdapterRouter({ registry, explorationSeed: 3 });
    await router.startCanary(one.newcomer, { share: 0.5 });
    await router.startCanary(other.newcomer, { share: 0.5 });
    const inOne = (await answers(router, one.domain, 400)).map((id) => id === one.newcomer);
    const inOther = (await answers(router, other.domain, 400)).map((id) => id === other.newcomer);
    const same = inOne.filter((isIn, person) => isIn === inOther[person]).length;
    expect(same).toBeGreaterThan(140);
    expect(same).toBeLessThan(260);
    const nameless = new Set<string | null>();
    for (let request = 0; request < 40; request++) nameless.add((await router.route("?", { domain: one.domain })).adapterId);
    expect(nameless).toEqual(new Set([one.incumbent, one.newcomer]));
    await router.close();
  });

  it("answer questions that embeddings or rules bring, and stand beside the base model where nothing served", async () => {
    const registry = getRegistry();
    const { domain, newcomer } = await twoVersions(registry, { active: false });
    const router = new AdapterRouter({ registry, settings: { rules: [{ domain, keywords: ["greenhouse"], weight: 2 }] } });
    const canary = await router.startCanary(newcomer, { share: 0.5 });
    expect(canary.incumbentId).toBeNull();
    const given = new Set<string | null>();
    for (let person = 0; person < 40; person++) {
      given.add((await router.route("Is the greenhouse open?", { subjectId: `user-${person}` })).adapterId);
    }
    expect(given).toEqual(new Set([null, newcomer]));
    expect(router.activeAdapter(domain)).toBeNull();
    await router.close();
  });

  it("are promoted into the domain's history, with the reason", async () => {
    const registry = getRegistry();
    const { domain, incumbent, newcomer } = await twoVersions(registry);
    const { id } = await registry.startCanary(newcomer, { share: 0.1, limitMs: 60_000, slowAboveMs: 900 });
    const ended = await registry.endCanary(id, { status: "promoted", reason: "rated better" });
    expect(ended).toMatchObject({ status: "promoted", reason: "rated better", slowAboveMs: 900, endedAt: expect.any(String) });
    expect(Date.parse(ended.endsBy!) - Date.parse(ended.startedAt)).toBe(60_000);
    expect((await registry.get(newcomer)).status).toBe("active");
    expect((await registry.get(incumbent)).status).toBe("retired");
    expect((await registry.history(domain)).at(-1)).toMatchObject({ adapterId: newcomer, reason: "rated better", endedAt: null });
    await expect(registry.endCanary(id, { status: "rolled_back", reason: "too late" })).rejects.toMatchObject({
      code: "adapter_state_conflict",
    });
    await expect(registry.endCanary("none", { status: "kept", reason: "?" })).rejects.toMatchObject({ code: "canary_not_found" });
  });

  it("give their people back when they are rolled back, and may be tried again", async () => {
    const registry = getRegistry();
    const { domain, incumbent, newcomer } = await twoVersions(registry);
    const router = new AdapterRouter({ registry });
    await router.startCanary(newcomer, { share: 0.9 });
    expect(await router.rollback(domain, { reason: "users complain" })).toMatchObject({ id: incumbent });
    expect(new Set(await answers(router, domain, 50))).toEqual(new Set([incumbent]));
    expect(await registry.listCanaries({ domain })).toMatchObject([{ status: "rolled_back", reason: "users complain" }]);
    expect((await registry.get(newcomer)).status).toBe("retired");
    await router.startCanary(newcomer, { share: 0.9 });
    expect(new Set(await answers(router, domain, 50))).toEqual(new Set([incumbent, newcomer]));
    // without one that is on trial, the domain itself is rolled back
    await router.rollback(domain);
    expect(await router.rollback(domain)).toBeNull();
    await router.close();
  });

  it("end when something else begins to serve, or their adapter or incumbent is withdrawn", async () => {
    const registry = getRegistry();
    const endings = async (act: (versions: Awaited<ReturnType<typeof twoVersions>>) => Promise<unknown>) => {
      const versions = await twoVersions(registry);
      await registry.startCanary(versions.newcomer, { share: 0.1 });
      await act(versions);
      return (await registry.listCanaries({ domain: versions.domain })).map(({ status }) => status);
    };
    expect(await endings(({ newcomer }) => registry.activate(newcomer))).toEqual(["promoted"]);
    expect(await endings(({ newcomer }) => registry.deactivate(newcomer))).toEqual(["rolled_back"]);
    expect(await endings(({ newcomer }) => registry.revoke(newcomer, "retired", "erasure"))).toEqual(["rolled_back"]);
    expect(await endings(({ incumbent }) => registry.revoke(incumbent, "retired", "erasure"))).toEqual(["superseded"]);
    expect(await endings(({ incumbent }) => registry.deactivate(incumbent))).toEqual(["superseded"]);
    const third = ({ domain }: { domain: string }) => registry.register({ name: domain, domain, path: "third", baseModel: "tiny" });
    expect(await endings(async (versions) => registry.activate((await third(versions)).id))).toEqual(["superseded"]);
    expect(await endings(async (versions) => registry.startCanary((await third(versions)).id, { share: 0.2 }))).toEqual([
      "superseded",
      "running",
    ]);
  });

  it("refuse an adapter that serves or can never serve, and a share that is none", async () => {
    const registry = getRegistry();
    const { incumbent, newcomer } = await twoVersions(registry);
    await expect(registry.startCanary(incumbent, { share: 0.1 })).rejects.toMatchObject({ code: "adapter_state_conflict" });
    for (const share of [0, 1, -1, Number.NaN]) {
      await expect(registry.startCanary(newcomer, { share })).rejects.toMatchObject({ code: "input_invalid" });
    }
    await registry.revoke(newcomer, "rejected", "the gate refused it");
    await expect(registry.startCanary(newcomer, { share: 0.1 })).rejects.toMatchObject({ code: "adapter_state_conflict" });
    await expect(registry.startCanary("ghost@v1", { share: 0.1 })).rejects.toMatchObject({ code: "adapter_not_found" });
  });
}

describe("canaries (memory)", () => {
  const registry = new MemoryAdapterRegistry();
  promises(() => registry);
});

describeEachStore("canaries", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  promises(() => new SqlAdapterRegistry({ store }));
});

describe("a canary that is rolled back", () => {
  let harness: StoreHarness;
  let store: Store;
  let watcher: TsProcess | undefined;
  beforeAll(async () => {
    harness = createHarness("postgres");
    store = await harness.open();
  });
  afterAll(async () => {
    watcher?.child.kill();
    await harness.reset();
  });

  it("has no traffic in another process within a second, by NOTIFY alone", async () => {
    const registry = new SqlAdapterRegistry({ store });
    const { domain, incumbent, newcomer } = await twoVersions(registry);
    watcher = runTs(new URL("./children/watch-canary.ts", import.meta.url), [(await harness.database()) as string, domain]);
    const told = async () => {
      const [clock, counts] = (await watcher!.nextLine()).split(" ");
      return { at: Number(clock), counts: JSON.parse(counts!) as Record<string, number> };
    };
    expect((await told()).counts).toEqual({ [incumbent]: 100 });
    const startedAt = Date.now();
    const { id } = await registry.startCanary(newcomer, { share: 0.5 });
    const started = await told();
    expect(started.counts[newcomer]).toBeGreaterThan(20);
    expect(started.at - startedAt).toBeLessThan(1_000);
    const rolledBackAt = Date.now();
    await registry.endCanary(id, { status: "rolled_back", reason: "its answers are rated worse" });
    const ended = await told();
    expect(ended.counts).toEqual({ [incumbent]: 100 });
    expect(ended.at - rolledBackAt).toBeLessThan(1_000);
  });
});
