import { describe, expect, it } from "vitest";
import { Exploration } from "../../src/router/exploration.js";
import { AdapterRouter, judgePolicy, type LoggedOutcome, type RoutingPolicy } from "../../src/router/index.js";
import { seededRandom } from "../../src/support/seeded-random.js";
import type { RoutingDecision } from "../../src/types/routing.js";
import { DOMAINS } from "./domains.js";

const exploring: RoutingPolicy = { enableExploration: true, uncertain: "candidate", thresholds: { confLow: 0.5, confHigh: 0.9 } };
const stricter: RoutingPolicy = { enableExploration: false, uncertain: "candidate", thresholds: { confLow: 0.75, confHigh: 0.9 } };
const DEFAULT_REWARD_RATE = 0.6;
/** Confidences of the simulated questions. */
const LOWEST = 0.4;

/** Decisions under `exploring`, on questions whose candidate is right with the probability that its confidence says. */
function simulate(count: number, random: () => number): LoggedOutcome[] {
  const beginner = new Exploration();
  return Array.from({ length: count }, (_, index) => {
    const confidence = LOWEST + (1 - LOWEST) * random();
    const chance = confidence >= 0.9 ? 1 : confidence < 0.5 ? 0 : beginner.weigh("a@v1", null, confidence).candidatePropensity;
    const isCandidate = random() < chance;
    const strategy = isCandidate ? (chance < 1 ? "explore" : "embedding") : "default";
    const decision: RoutingDecision = {
      id: `dec_${index}`,
      adapterId: isCandidate ? "a@v1" : null,
      confidence,
      strategy,
      candidates: [{ adapterId: "a@v1", score: confidence }],
      propensity: isCandidate ? chance : 1 - chance,
    };
    return { decision, reward: random() < (isCandidate ? confidence : DEFAULT_REWARD_RATE) ? 1 : -1 };
  });
}

/** Mean reward of `stricter` on such questions, by integration. */
function truth(): number {
  const low = stricter.thresholds.confLow;
  const candidates = (1 - low ** 2) / 2;
  return 2 * ((DEFAULT_REWARD_RATE * (low - LOWEST) + candidates) / (1 - LOWEST)) - 1;
}

const decisionOf = (over: Partial<RoutingDecision>): RoutingDecision => ({
  id: "dec_1",
  adapterId: null,
  confidence: 0.6,
  strategy: "default",
  candidates: [{ adapterId: "a@v1", score: 0.6 }],
  propensity: 1,
  ...over,
});

describe("a policy is judged off-line", () => {
  it("with an interval that holds the truth in about 95 of 100 runs, and no bias to speak of", async () => {
    const random = seededRandom(3);
    const runs = 400;
    let covered = 0;
    let sum = 0;
    for (let run = 0; run < runs; run++) {
      const { estimate, isConclusive } = await judgePolicy(simulate(600, random), stricter);
      expect(isConclusive).toBe(true);
      if (estimate!.low <= truth() && truth() <= estimate!.high) covered++;
      sum += estimate!.mean;
    }
    expect(covered / runs).toBeGreaterThan(0.92);
    expect(covered / runs).toBeLessThan(0.98);
    expect(Math.abs(sum / runs - truth())).toBeLessThan(0.01);
  });

  it("where nothing changes, as what was had, with all decisions as evidence", async () => {
    const outcomes = simulate(500, seededRandom(4));
    const { estimate, logged, effectiveSampleSize, decisions } = await judgePolicy(outcomes, exploring);
    expect(estimate!.mean).toBeCloseTo(logged!.mean);
    expect(effectiveSampleSize).toBeCloseTo(decisions);
  });

  it("with less evidence where the change is large, and says how much", async () => {
    const outcomes = simulate(500, seededRandom(4));
    const never: RoutingPolicy = { ...exploring, enableExploration: false, uncertain: "default" };
    const { effectiveSampleSize } = await judgePolicy(outcomes, never);
    expect(effectiveSampleSize).toBeLessThan((await judgePolicy(outcomes, stricter)).effectiveSampleSize);
  });

  it("and not where it would do what was never tried, which is named", async () => {
    const kept = [0.6, 0.6, 0.3, 0.3].map((confidence) => ({ decision: decisionOf({ confidence }), reward: 1 }));
    const judged = await judgePolicy(kept, { ...exploring, enableExploration: false });
    expect(judged).toMatchObject({ isConclusive: false, unsupported: [{ action: "candidate", share: 0.5 }] });
    const hopeless = await judgePolicy(kept.slice(0, 2), { ...exploring, enableExploration: false });
    expect(hopeless).toMatchObject({ isConclusive: false, estimate: null, effectiveSampleSize: 0, logged: { mean: 1 } });
    const answered = [{ decision: decisionOf({ adapterId: "a@v1", strategy: "embedding" }), reward: 1 }];
    expect((await judgePolicy(answered, stricter)).unsupported).toEqual([{ action: "default", share: 1 }]);
    expect((await judgePolicy(answered, exploring)).estimate).toEqual({ mean: 1, low: -1, high: 1 });
    expect((await judgePolicy([], stricter)).isConclusive).toBe(false);
  });

  it("counting pins and rules as they were", async () => {
    const outcomes = (["pinned", "domain"] as const).map((strategy) => ({
      decision: decisionOf({ strategy, adapterId: "a@v1", confidence: 1 }),
      reward: -1,
    }));
    expect(await judgePolicy(outcomes, stricter)).toMatchObject({ isConclusive: true, estimate: { mean: -1 }, effectiveSampleSize: 2 });
  });

  it("until the caller aborts", async () => {
    const outcomes = simulate(5, seededRandom(5));
    await expect(judgePolicy(outcomes, stricter, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });

  it("from a stream of stored outcomes", async () => {
    const outcomes = simulate(50, seededRandom(5));
    async function* stream() {
      yield* outcomes;
    }
    expect(await judgePolicy(stream(), stricter)).toEqual(await judgePolicy(outcomes, stricter));
  });
});

describe("the router", () => {
  it("judges a change by the outcomes that it remembers, and stays as it is", async () => {
    const settings = { enableExploration: true, thresholds: { confLow: 0, confHigh: 1 } };
    const router = new AdapterRouter({ settings, explorationSeed: 1 });
    const { name, examples } = DOMAINS[0]!;
    const { id } = await router.registerAdapter({ name, domain: name, path: "adapters/museum@v1", baseModel: "tiny", examples });
    await router.activateAdapter(id);
    for (const question of DOMAINS[0]!.rewordings) {
      const decision = await router.route(question);
      await router.recordOutcome(decision.id, decision.adapterId === id ? 1 : -1);
    }
    await router.route("no outcome");
    const { decisions, estimate, logged } = await router.judgePolicy({ enableExploration: false });
    expect(decisions).toBe(DOMAINS[0]!.rewordings.length);
    expect(estimate!.mean).toBe(1);
    expect(logged!.mean).toBeLessThan(1);
    expect(router.status().settings).toMatchObject(settings);
    await expect(router.judgePolicy({ thresholds: { confLow: 2 } })).rejects.toMatchObject({ code: "input_invalid" });
  });
});
