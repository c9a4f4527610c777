import { describe, expect, it } from "vitest";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import { AdapterRouter, type AdapterRouterOptions, MemoryAdapterRegistry } from "../../src/router/index.js";
import { DOMAINS } from "./domains.js";

async function museumAndHarbour(options: AdapterRouterOptions = {}): Promise<AdapterRouter> {
  const router = new AdapterRouter(options);
  for (const { name, examples } of DOMAINS.slice(0, 2)) {
    const { id } = await router.registerAdapter({ name, domain: name, path: `adapters/${name}@v1`, baseModel: "tiny", examples });
    await router.activateAdapter(id);
  }
  return router;
}

const ABOUT_MUSEUM = "Can you tell me the closing time of the planetarium?";

describe("the order of the decision", () => {
  it("is pinned, domain rule or hint, embedding, default", async () => {
    const router = await museumAndHarbour({
      settings: { rules: [{ domain: "harbour", keywords: ["crane", "mooring permit"], weight: 1.5 }] },
    });
    const crane = `${ABOUT_MUSEUM} And the crane?`;
    expect(await router.route(crane, { pinned: "other@v7", domain: "museum" })).toMatchObject({
      adapterId: "other@v7",
      strategy: "pinned",
    });
    expect(await router.route(crane, { pinned: null })).toMatchObject({ adapterId: null, strategy: "pinned", confidence: 1 });
    expect(await router.route(crane)).toMatchObject({ adapterId: "harbour@v1", strategy: "domain", domain: "harbour" });
    expect(await router.route(ABOUT_MUSEUM)).toMatchObject({ adapterId: "museum@v1", strategy: "embedding", domain: "museum" });
    expect(await router.route("Hello")).toMatchObject({ adapterId: null, strategy: "default" });
    expect(router.status().decisions).toEqual({ pinned: 2, domain: 1, embedding: 1, explore: 0, default: 1 });
  });

  it("a hint outweighs rules and likeness, and keeps to the base model where its domain has no adapter", async () => {
    const router = await museumAndHarbour();
    expect(await router.route(ABOUT_MUSEUM, { domain: "harbour" })).toMatchObject({ adapterId: "harbour@v1", strategy: "domain" });
    expect(await router.route(ABOUT_MUSEUM, { domain: "zoo" })).toMatchObject({ adapterId: null, strategy: "default", domain: "zoo" });
  });

  it("a rule decides from the hard weight on, by whole words in any form, phrases, beginnings and signs", async () => {
    const rules = [{ domain: "harbour", keywords: ["Kräne", "mooring permit", "photovolt*", "§ 58"] }];
    const router = await museumAndHarbour({ settings: { rules, enableEmbeddings: false } });
    const strategyOf = async (text: string) => (await router.route(text)).strategy;
    expect(await strategyOf("Kränen fehlt die PHOTOVOLTAIK")).toBe("domain");
    expect(await strategyOf("nach § 58: Mooring Permits")).toBe("domain");
    expect(await strategyOf("Kräne, Kräne und noch einmal Kräne")).toBe("default");
    expect(await strategyOf("a permit for mooring under § 58")).toBe("default");
    expect(await strategyOf("Turmdrehkräne mit Agrophotovoltaik")).toBe("default");
  });

  it("a rule for a domain without an adapter is passed over", async () => {
    const router = await museumAndHarbour({ settings: { rules: [{ domain: "zoo", keywords: ["planetarium"], weight: 2 }] } });
    expect(await router.route(ABOUT_MUSEUM)).toMatchObject({ adapterId: "museum@v1", strategy: "embedding" });
  });

  it("of a conversation the last user turn counts", async () => {
    const router = await museumAndHarbour();
    const decision = await router.route([
      { role: "user", content: "Which form do I need for a fuel refund?" },
      { role: "assistant", content: "Form H7." },
      { role: "user", content: ABOUT_MUSEUM },
      { role: "assistant", content: "" },
    ]);
    expect(decision.adapterId).toBe("museum@v1");
  });

  it("the default adapter answers what fits none, until it is withdrawn", async () => {
    const router = await museumAndHarbour();
    await router.registerAdapter({ name: "chat", domain: "chat", path: "adapters/chat@v1", baseModel: "tiny" });
    await router.configure({ defaultAdapter: "chat@v1" });
    expect(await router.route("Hello")).toMatchObject({ adapterId: "chat@v1", strategy: "default" });
    await router.withdrawAdapter("chat@v1", "erasure");
    expect(await router.route("Hello")).toMatchObject({ adapterId: null, strategy: "default" });
  });
});

describe("between the thresholds", () => {
  // Every probability lies between them.
  const thresholds = { confLow: 0, confHigh: 1 };

  it("the candidate answers, or the default where the settings say so", async () => {
    const router = await museumAndHarbour({ settings: { thresholds } });
    expect(await router.route(ABOUT_MUSEUM)).toMatchObject({ adapterId: "museum@v1", strategy: "embedding" });
    await router.configure({ uncertain: "default" });
    expect(await router.route(ABOUT_MUSEUM)).toMatchObject({ adapterId: null, strategy: "default" });
  });

  it("exploration tries the candidate as often as it says, and says how likely what it did was", async () => {
    const router = await museumAndHarbour({ settings: { thresholds, enableExploration: true }, explorationSeed: 5 });
    const text = "Is there a planetarium with a crane booking?";
    const decisions = await Promise.all(Array.from({ length: 400 }, () => router.route(text)));
    const explored = decisions.filter(({ strategy }) => strategy === "explore");
    const propensity = router.decision(explored[0]!.id).propensity;
    expect(explored.every(({ adapterId }) => adapterId !== null)).toBe(true);
    const spread = Math.sqrt((propensity * (1 - propensity)) / decisions.length);
    expect(Math.abs(explored.length / decisions.length - propensity)).toBeLessThan(4 * spread);
    const kept = decisions.find(({ strategy }) => strategy === "default")!;
    expect(router.decision(kept.id).propensity).toBeCloseTo(1 - propensity);
    const again = await museumAndHarbour({ settings: { thresholds, enableExploration: true }, explorationSeed: 5 });
    const repeated = await Promise.all(decisions.map(() => again.route(text)));
    expect(repeated.map(({ strategy }) => strategy)).toEqual(decisions.map(({ strategy }) => strategy));
  });
});

describe("while it serves", () => {
  it("a decision asks neither registry nor network", async () => {
    const registry = new MemoryAdapterRegistry();
    const router = await museumAndHarbour({ registry, refreshIntervalMs: 0 });
    const calls: string[] = [];
    for (const method of ["get", "list", "history", "nextVersion"] as const) {
      registry[method] = () => {
        calls.push(method);
        throw new Error("asked");
      };
    }
    expect((await router.route(ABOUT_MUSEUM)).adapterId).toBe("museum@v1");
    expect(calls).toEqual([]);
  });

  it("an activation elsewhere is noticed without a restart", async () => {
    const registry = new MemoryAdapterRegistry();
    const here = await museumAndHarbour({ registry, refreshIntervalMs: 1 });
    const elsewhere = new AdapterRouter({ registry });
    const next = await elsewhere.registerAdapter({ name: "museum", domain: "museum", path: "adapters/museum@v2", baseModel: "tiny" });
    await elsewhere.activateAdapter(next.id);
    await expect.poll(async () => (await here.route("x", { domain: "museum" })).adapterId).toBe(next.id);
    await here.close();
  });

  it("an embedder that fails costs the likeness and nothing else", async () => {
    const lexical = new LexicalEmbedder();
    let isDown = false;
    const router = await museumAndHarbour({
      embedder: {
        name: "moody",
        dimensions: 512,
        embed: async (texts) => {
          if (isDown) throw new Error("no connection");
          return lexical.embed(texts);
        },
      },
    });
    isDown = true;
    expect(await router.route(ABOUT_MUSEUM)).toMatchObject({ adapterId: null, strategy: "default", confidence: 0 });
    expect(await router.route(ABOUT_MUSEUM, { domain: "museum" })).toMatchObject({ adapterId: "museum@v1" });
    expect(router.status().embeddings.lastError).toBe("no connection");
    const { id } = await router.registerAdapter({
      name: "zoo",
      domain: "zoo",
      path: "adapters/zoo@v1",
      baseModel: "tiny",
      examples: ["When are the seals fed?"],
    });
    await router.activateAdapter(id);
    expect(router.status().embeddings.isReady).toBe(false);
    isDown = false;
    await router.refresh();
    expect(await router.route("When are the seals fed today?")).toMatchObject({ adapterId: id });
    expect(router.status().embeddings).toMatchObject({ isReady: true, lastError: null });
  });

  it("a repeated question is embedded once", async () => {
    const lexical = new LexicalEmbedder();
    const asked: string[] = [];
    const embed = async (texts: readonly string[]) => {
      asked.push(...texts);
      return lexical.embed(texts);
    };
    const router = await museumAndHarbour({ embedder: { name: "counting", dimensions: 512, embed } });
    const decisions = [await router.route(ABOUT_MUSEUM), await router.route(ABOUT_MUSEUM)];
    expect(decisions[1]!.confidence).toBe(decisions[0]!.confidence);
    expect(asked.filter((text) => text === ABOUT_MUSEUM)).toHaveLength(1);
  });

  it("an embedder that hangs holds no request up for longer than its time", async () => {
    const lexical = new LexicalEmbedder();
    let hangs = false;
    const router = await museumAndHarbour({
      embedTimeoutMs: 30,
      embedder: { name: "slow", dimensions: 512, embed: (texts) => (hangs ? new Promise(() => undefined) : lexical.embed(texts)) },
    });
    hangs = true;
    expect(await router.route(ABOUT_MUSEUM)).toMatchObject({ strategy: "default" });
  });

  it("an aborted call rejects as aborted", async () => {
    const router = await museumAndHarbour();
    await expect(router.route(ABOUT_MUSEUM, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });
});
