import { describe, expect, it } from "vitest";
import { AdapterRouter, type AdapterRouterOptions } from "../../src/router/index.js";
import { DOMAINS } from "./domains.js";

const ABOUT_MUSEUM = "Can you tell me the closing time of the planetarium?";

async function museumAndHarbour(options: AdapterRouterOptions = {}): Promise<AdapterRouter> {
  const router = new AdapterRouter(options);
  for (const { name, examples } of DOMAINS.slice(0, 2)) {
    const { id } = await router.registerAdapter({ name, domain: name, path: `adapters/${name}@v1`, baseModel: "tiny", examples });
    await router.activateAdapter(id);
  }
  return router;
}

describe("an explanation", () => {
  const rules = [
    { domain: "harbour", keywords: ["crane", "mooring permit"], weight: 1.5 },
    { domain: "museum", keywords: ["planetarium", "curator"] },
  ];

  it("says of a pin that the caller pinned", async () => {
    const router = await museumAndHarbour();
    const { id } = await router.route(ABOUT_MUSEUM, { pinned: null });
    expect(router.explain(id).steps).toEqual([{ step: "pinned", decided: true, reason: "The caller pinned the base model." }]);
  });

  it("names the words of the rule that decided, and what it would have needed where none did", async () => {
    const router = await museumAndHarbour({ settings: { rules } });
    const byRule = router.explain((await router.route(`${ABOUT_MUSEUM} And the cranes?`)).id);
    expect(byRule.rules).toEqual([
      { domain: "harbour", weight: 1.5, keywords: ["crane"] },
      { domain: "museum", weight: 1, keywords: ["planetarium"] },
    ]);
    expect(byRule.steps.map(({ step, decided }) => [step, decided])).toEqual([
      ["pinned", false],
      ["domain", true],
    ]);
    expect(byRule.reasons[1]).toContain('harbour weighs 1.5 by "crane"');
    const tooLight = router.explain((await router.route(ABOUT_MUSEUM)).id);
    expect(tooLight.steps.map(({ step, decided }) => [step, decided])).toEqual([
      ["pinned", false],
      ["domain", false],
      ["embedding", true],
    ]);
    expect(tooLight.reasons[1]).toContain("a rule decides from 1.5 on");
  });

  it("shows the candidates with the features that speak for them, and the thresholds of the time", async () => {
    const router = await museumAndHarbour();
    const { id, candidates } = await router.route(ABOUT_MUSEUM);
    await router.configure({ thresholds: { confHigh: 0.99 } });
    const explained = router.explain(id);
    expect(explained.thresholds.confHigh).toBe(0.85);
    expect(explained.candidates.map(({ adapterId, probability }) => ({ adapterId, score: probability }))).toEqual(candidates);
    const [museum, harbour] = explained.candidates;
    expect(Object.keys(museum!.features)).toEqual(Object.keys(router.status().embeddings.weights));
    expect(museum!.features.probe).toBeGreaterThan(harbour!.features.probe!);
    expect(explained.reasons[2]).toMatch(/museum@v1 is right with a probability of .* at least 85.0 %/);
  });

  it("tells exploration's beliefs and chances", async () => {
    const router = await museumAndHarbour({ settings: { enableExploration: true, thresholds: { confLow: 0, confHigh: 1 } } });
    const { id, strategy, propensity } = await router.route(ABOUT_MUSEUM);
    const { exploration, steps } = router.explain(id);
    expect(strategy === "explore" ? exploration!.candidatePropensity : 1 - exploration!.candidatePropensity).toBeCloseTo(propensity);
    expect(exploration!.candidate.alpha).toBeGreaterThan(exploration!.default.alpha);
    expect(steps.filter(({ decided }) => decided).map(({ step }) => step)).toEqual([strategy === "explore" ? "exploration" : "default"]);
  });

  it.each([
    ["out of scope", "Hello", {}, /less than 55.0 % \(confLow\): out of scope/],
    ["switched off", ABOUT_MUSEUM, { enableEmbeddings: false }, /switched off/],
    ["an empty text", " ", {}, /no text to compare/],
  ])("says why the default answers: %s", async (_, text, settings, reason) => {
    const router = await museumAndHarbour({ settings });
    const { reasons } = router.explain((await router.route(text)).id);
    expect(reasons[2]).toMatch(reason);
    expect(reasons[3]).toBe("So the default answers: the base model.");
  });

  it("says why the default answers: the embedder failed", async () => {
    const fails = {
      name: "down",
      dimensions: 2,
      embed: async (texts: readonly string[]) => (texts.length > 1 ? texts.map(() => [1, 1]) : []),
    };
    const router = await museumAndHarbour({ embedder: fails });
    expect(router.explain((await router.route(ABOUT_MUSEUM)).id).reasons[2]).toMatch(/embedder failed/);
  });

  it("names a domain that no adapter serves", async () => {
    const router = await museumAndHarbour();
    const { reasons } = router.explain((await router.route(ABOUT_MUSEUM, { domain: "zoo" })).id);
    expect(reasons[1]).toBe("The caller named the domain zoo, which no adapter serves: the base model answers.");
  });

  it("knows the outcome so far, and cannot be changed from outside", async () => {
    const router = await museumAndHarbour();
    const { id } = await router.route(ABOUT_MUSEUM);
    expect(router.explain(id).reward).toBeNull();
    await router.recordOutcome(id, -0.5);
    router.explain(id).decision.adapterId = "other@v1";
    const { reward, reasons, decision } = router.explain(id);
    expect([reward, reasons.at(-1), decision.adapterId]).toEqual([-0.5, "Its outcome so far is -0.5 (-1 to 1).", "museum@v1"]);
    expect(() => router.explain("dec_unknown")).toThrow(expect.objectContaining({ code: "decision_not_found" }));
  });
});
