import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Exploration, MIN_PROPENSITY } from "../../src/router/exploration.js";
import { AdapterRouter, type AdapterRouterOptions } from "../../src/router/index.js";
import { type Beta, probabilityGreater } from "../../src/router/thompson.js";
import { seededRandom } from "../../src/support/seeded-random.js";
import type { RoutingDecision } from "../../src/types/routing.js";
import { DOMAINS } from "./domains.js";

const UNSURE = "Who approves the planetarium?";
/** Every probability lies between them. */
const thresholds = { confLow: 0, confHigh: 1 };

async function exploringRouter(options: AdapterRouterOptions = {}): Promise<AdapterRouter> {
  const router = new AdapterRouter({ settings: { thresholds, enableExploration: true }, explorationSeed: 5, ...options });
  for (const { name, examples } of DOMAINS.slice(0, 2)) {
    const { id } = await router.registerAdapter({ name, domain: name, path: `adapters/${name}@v1`, baseModel: "tiny", examples });
    await router.activateAdapter(id);
  }
  return router;
}

async function ask(router: AdapterRouter, times: number): Promise<RoutingDecision[]> {
  const decisions: RoutingDecision[] = [];
  for (let time = 0; time < times; time++) decisions.push(await router.route(UNSURE));
  return decisions;
}

const candidatePropensity = (router: AdapterRouter, { id }: RoutingDecision): number => router.explain(id).exploration!.candidatePropensity;

describe("the chance that one arm is better than another", () => {
  const random = seededRandom(7);
  /** A Gamma variate of whole shape, as a sum of exponentials. */
  const gamma = (shape: number): number => -Math.log(Array.from({ length: shape }, () => 1 - random()).reduce((a, b) => a * b, 1));
  const drawBeta = ({ alpha, beta }: Beta): number => {
    const left = gamma(alpha);
    return left / (left + gamma(beta));
  };

  it.each([
    [
      { alpha: 1, beta: 1 },
      { alpha: 1, beta: 1 },
    ],
    [
      { alpha: 4, beta: 2 },
      { alpha: 2, beta: 4 },
    ],
    [
      { alpha: 30, beta: 12 },
      { alpha: 3, beta: 1 },
    ],
    [
      { alpha: 90, beta: 110 },
      { alpha: 100, beta: 100 },
    ],
    [
      { alpha: 1, beta: 9 },
      { alpha: 1, beta: 40 },
    ],
  ])("of %j and %j is what drawing from both gives", (left, right) => {
    const draws = 20_000;
    let wins = 0;
    for (let draw = 0; draw < draws; draw++) if (drawBeta(left) > drawBeta(right)) wins++;
    const probability = probabilityGreater(left, right);
    expect(Math.abs(wins / draws - probability)).toBeLessThan(4 * Math.sqrt((probability * (1 - probability)) / draws) + 1e-4);
  });

  it("is exact where there is a closed form", () => {
    for (const alpha of [1, 2, 5, 40.5]) {
      expect(probabilityGreater({ alpha, beta: 1 }, { alpha: 1, beta: 1 })).toBeCloseTo(alpha / (alpha + 1), 4);
    }
  });

  it("and the chance of the opposite make one, also for fractions and many thousands of outcomes", () => {
    const count = fc.double({ min: 1, max: 50_000, noNaN: true });
    const beta = fc.record({ alpha: count, beta: count });
    fc.assert(
      fc.property(beta, beta, (left, right) => {
        const probability = probabilityGreater(left, right);
        expect(probability).toBeGreaterThanOrEqual(0);
        expect(probability + probabilityGreater(right, left)).toBeCloseTo(1, 6);
      }),
    );
  });
});

describe("exploration", () => {
  it("tries a candidate the more readily the surer the router is, and never excludes either", () => {
    const exploration = new Exploration();
    const chances = [0.05, 0.3, 0.55, 0.7, 0.85, 0.99].map((confidence) => exploration.weigh("a@v1", null, confidence).candidatePropensity);
    expect([...chances].sort((left, right) => left - right)).toEqual(chances);
    expect(chances[0]).toBe(MIN_PROPENSITY);
    expect(chances.at(-1)).toBe(1 - MIN_PROPENSITY);
    expect(exploration.weigh("a@v1", null, 0.5).candidatePropensity).toBeCloseTo(0.5, 6);
  });

  it("logs with each decision the chance that it had", async () => {
    const router = await exploringRouter();
    const decisions = await ask(router, 300);
    const chance = candidatePropensity(router, decisions[0]!);
    for (const { strategy, propensity } of decisions) expect(propensity).toBeCloseTo(strategy === "explore" ? chance : 1 - chance);
    const tried = decisions.filter(({ strategy }) => strategy === "explore").length;
    expect(Math.abs(tried / decisions.length - chance)).toBeLessThan(4 * Math.sqrt((chance * (1 - chance)) / decisions.length));
    expect((await router.route(UNSURE, { pinned: null })).propensity).toBe(1);
  });

  it.each([
    ["turns to the candidate that does well", 1, -1],
    ["turns away from the candidate that does badly", -1, 1],
  ])("%s", async (_, rewardOfCandidate, rewardOfDefault) => {
    const router = await exploringRouter();
    const before = candidatePropensity(router, (await ask(router, 1))[0]!);
    for (const { id, strategy } of await ask(router, 60)) {
      await router.recordOutcome(id, strategy === "explore" ? rewardOfCandidate : rewardOfDefault);
    }
    const after = candidatePropensity(router, (await ask(router, 1))[0]!);
    expect(after).toBe(rewardOfCandidate > 0 ? 1 - MIN_PROPENSITY : MIN_PROPENSITY);
    expect(after).not.toBe(before);
  });

  it("counts an outcome that is corrected once, and none of a question that left nothing to chance", async () => {
    const [corrected, plain] = [await exploringRouter(), await exploringRouter()];
    const [first] = await ask(corrected, 1);
    const [same] = await ask(plain, 1);
    await corrected.recordOutcome(first!.id, -1);
    await corrected.recordOutcome(first!.id, 0.5);
    await plain.recordOutcome(same!.id, 0.5);
    const pinned = await plain.route(UNSURE, { pinned: same!.candidates[0]!.adapterId });
    await plain.recordOutcome(pinned.id, -1);
    const [left, right] = [(await ask(corrected, 1))[0]!, (await ask(plain, 1))[0]!];
    expect(corrected.explain(left.id).exploration).toEqual(plain.explain(right.id).exploration);
  });

  it("leaves nothing to chance where candidate and default are the same", async () => {
    const router = await exploringRouter();
    const adapterId = (await ask(router, 1))[0]!.candidates[0]!.adapterId;
    await router.configure({ defaultAdapter: adapterId });
    expect(await router.route(UNSURE)).toMatchObject({ adapterId, strategy: "embedding", propensity: 1 });
  });
});
