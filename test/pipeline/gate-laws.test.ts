import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideGate } from "../../src/pipeline/gate/decide.js";
import { gatherEvidence } from "../../src/pipeline/gate/evidence.js";
import { GATE_DEFAULTS } from "../../src/pipeline/gate/gate-options.js";
import { assessPairing } from "../../src/pipeline/gate/pairing.js";
import { exactSignTest, pairedBootstrap, shuffled } from "../../src/pipeline/gate/statistics.js";
import { seededRandom } from "../../src/support/seeded-random.js";
import type { EvaluatedModel, EvaluationSetKind } from "../../src/types/runtime-protocol.js";
import { corrections, facts, permuted } from "./support/facts.js";

/** What a model did on one item: whether exact, nats per token, choice probability. */
type Outcome = { exact: boolean; loss: number; choice: number | null };
type Outcomes = Record<string, { kind: EvaluationSetKind; outcomes: Outcome[] }>;

const TOKENS = 10;
const options = { ...GATE_DEFAULTS, resamples: 2000 };

function model(name: string, sets: Outcomes): EvaluatedModel {
  return {
    name,
    adapter: null,
    sets: Object.entries(sets).map(([setName, { kind, outcomes }]) => ({
      name: setName,
      kind,
      count: outcomes.length,
      exact: 0,
      perplexity: 1,
      choice_probability: null,
      items: outcomes.map((outcome, index) => ({
        id: `${setName}-${index}`,
        output: "",
        exact: outcome.exact,
        nll: outcome.loss * TOKENS,
        tokens: TOKENS,
        choice_probability: outcome.choice,
      })),
    })),
  };
}

const decide = (baseline: Outcomes, candidate: Outcomes, more: Partial<Parameters<typeof decideGate>[0]> = {}) =>
  decideGate(
    { evidence: gatherEvidence(model("baseline", baseline), model("candidate", candidate), options), pairing: null, ...more },
    options,
  );

/** `exact` of `count` right, in a fixed order that the seed turns. */
function outcomes(count: number, right: number, perplexity: number, choice: number, seed = 1): Outcome[] {
  const hits = shuffled(
    Array.from({ length: count }, (_, index) => index < Math.round(right * count)),
    seededRandom(seed),
  );
  const random = seededRandom(seed + 100);
  const noisy = (value: number) => Math.min(1, Math.max(0, value + (random() - 0.5) * 0.1));
  return hits.map((exact) => ({ exact, loss: Math.log(perplexity), choice: noisy(exact ? Math.max(choice, 0.9) : choice) }));
}

const general = (right: number, seed: number, loss = right === 1 ? 1.02 : 1.02 + 2 * (1 - right)) => ({
  kind: "regression" as const,
  outcomes: outcomes(52, right, loss, 0.9, seed),
});
/** The figures of a real base and real adapters (exact answers and perplexity on 40 held-out phrasings, 52 general questions). */
const base = { recall: { kind: "recall" as const, outcomes: outcomes(40, 0, 2.69, 0.4) }, general: general(1, 5) };
const healthy = { recall: { kind: "recall" as const, outcomes: outcomes(40, 0.875, 1.02, 0.6, 2) }, general: general(0.96, 6) };
const spoiled = { recall: { kind: "recall" as const, outcomes: outcomes(40, 0.05, 1.33, 0.3, 3) }, general: general(0.85, 7) };

describe("the gate", () => {
  it("promotes the healthy adapter of the measured figures", () => {
    expect(decide(base, healthy)).toMatchObject({ decision: "promote", passed: true });
  });

  it("does not promote the spoiled one, whose perplexity is far better than the base's", () => {
    const decision = decide(base, spoiled);
    expect(decision.reasons.find((reason) => reason.criterion === "perplexity")?.verdict).toBe("pass");
    expect(decision.decision).toBe("reject");
    expect(decision.reasons.filter((reason) => reason.verdict === "fail").map((reason) => reason.criterion)).toEqual(
      expect.arrayContaining(["choice_probability", "regression"]),
    );
  });

  it("rejects an adapter that learnt its domain and forgot the one before it", () => {
    const before = { ...base, "domain:building": { kind: "regression" as const, outcomes: outcomes(40, 0.775, 1.1, 0.9, 8) } };
    const after = { ...healthy, "domain:building": { kind: "regression" as const, outcomes: outcomes(40, 0.075, 2.2, 0.5, 9) } };
    expect(decide(before, after).decision).toBe("reject");
    const kept = { ...healthy, "domain:building": { kind: "regression" as const, outcomes: outcomes(40, 0.825, 1.08, 0.9, 9) } };
    expect(decide(before, kept).decision).toBe("promote");
  });

  it("does not hold a candidate to what the baseline never knew, such as another domain's facts", () => {
    const foreign = (perplexity: number) => ({ kind: "regression" as const, outcomes: outcomes(24, 0, perplexity, 0.3, 8) });
    expect(decide({ ...base, "domain:office": foreign(3) }, { ...healthy, "domain:office": foreign(12) }).decision).toBe("promote");
    const known = (perplexity: number) => ({ kind: "regression" as const, outcomes: outcomes(24, 0, perplexity, 0.3, 8) });
    expect(decide({ ...base, known: known(1.4) }, { ...healthy, known: known(6) }).decision).toBe("reject");
  });

  it("does not call a longer answer in other words a regression while right answers stay likely", () => {
    const after = { ...healthy, general: { kind: "regression" as const, outcomes: outcomes(52, 0.4, 1.04, 0.9, 6) } };
    expect(decide(base, after).decision).toBe("promote");
  });

  it("asks for more evidence on seven items, however good they look", () => {
    const few = (right: number, perplexity: number) => ({
      recall: { kind: "recall" as const, outcomes: outcomes(7, right, perplexity, 0.5) },
    });
    expect(decide(few(0, 2.7), few(1, 1.01))).toMatchObject({ decision: "not_enough_evidence", passed: false });
    expect(decide({}, {})).toMatchObject({ decision: "not_enough_evidence" });
  });

  it("asks for more evidence where a gain may be chance", () => {
    const after = { recall: { kind: "recall" as const, outcomes: outcomes(40, 0.1, 1.5, 0.42, 2) } };
    expect(decide({ recall: base.recall }, after).decision).toBe("not_enough_evidence");
  });

  it("decides free text, where no answer is ever exact, by the right answer's choice", () => {
    const before = { recall: { kind: "recall" as const, outcomes: outcomes(30, 0, 9, 0.3, 2) } };
    const better = { recall: { kind: "recall" as const, outcomes: outcomes(30, 0, 5, 0.8, 3) } };
    const same = { recall: { kind: "recall" as const, outcomes: outcomes(30, 0, 5, 0.3, 3) } };
    expect(decide(before, better).decision).toBe("promote");
    expect(decide(before, same).decision).not.toBe("promote");
  });

  it("stops a slow drift, each step under the limit, at the frozen anchor (A31)", () => {
    const before = { ...base, general: general(0.78, 5, 1.3) };
    const after = { ...healthy, general: general(0.71, 6, 1.45) };
    expect(decide(before, after).decision).toBe("promote");
    expect(decide(before, after, { anchors: { general: 1 } }).decision).toBe("reject");
  });

  it("rejects what explodes on facts that it was never told", () => {
    const unknown = (perplexity: number) => ({ kind: "generalisation" as const, outcomes: outcomes(12, 0, perplexity, 0.3, 4) });
    expect(decide({ ...base, unknown: unknown(4) }, { ...healthy, unknown: unknown(4.4) }).decision).toBe("promote");
    expect(decide({ ...base, unknown: unknown(4) }, { ...healthy, unknown: unknown(40) }).decision).toBe("reject");
  });

  it("heeds the host's evaluators: worse rejects, not shown better waits where it must be better", () => {
    const evaluators = (candidate: number[], mustImprove = false) => ({
      evaluators: [{ name: "rubric", scores: { baseline: [0.5, 0.6, 0.4, 0.5, 0.6, 0.5, 0.4, 0.5], candidate }, mustImprove }],
    });
    const worse = [0.1, 0.2, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1];
    const same = [0.5, 0.6, 0.4, 0.5, 0.6, 0.5, 0.4, 0.5];
    expect(decide(base, healthy, evaluators(worse)).decision).toBe("reject");
    expect(decide(base, healthy, evaluators(same)).decision).toBe("promote");
    expect(decide(base, healthy, evaluators(same, true)).decision).toBe("not_enough_evidence");
    expect(decide(base, healthy, evaluators([1, 2])).decision).toBe("not_enough_evidence");
    expect(decide(base, healthy, evaluators(same.map(() => Number.NaN))).decision).toBe("not_enough_evidence");
    expect(
      decide(base, healthy, { evaluators: [{ name: "score", scores: { baseline: 2, candidate: 1 }, mustImprove: false }] }).decision,
    ).toBe("reject");
  });

  it("never promotes a candidate that is nowhere better", () => {
    const outcome = fc.record({
      exact: fc.boolean(),
      loss: fc.double({ min: 0.01, max: 5, noNaN: true }),
      choice: fc.double({ min: 0, max: 1, noNaN: true }),
      worse: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(outcome, { minLength: 1, maxLength: 60 }), (items) => {
        const before = { recall: { kind: "recall" as const, outcomes: items } };
        const after = {
          recall: {
            kind: "recall" as const,
            outcomes: items.map((item) => ({
              exact: item.exact && item.worse < 0.5,
              loss: item.loss + item.worse,
              choice: item.choice * (1 - item.worse),
            })),
          },
        };
        return decide(before, after).decision !== "promote";
      }),
      { numRuns: 150 },
    );
  });

  it("gives the same decision for the same evidence", () => {
    expect(decide(base, spoiled)).toEqual(decide(base, spoiled));
  });

  it("promotes a candidate that is no better in at most one of twenty trials, and a clearly better one in most", () => {
    const trials = 200;
    const random = seededRandom(11);
    /** Perplexity is made 10 % better for free, as learning the form of answers does. */
    const draw = (count: number, right: number, factor: number): Outcome[] =>
      Array.from({ length: count }, () => ({
        exact: random() < right,
        loss: Math.max(0.01, Math.log(2.5 * factor) + (random() - 0.5)),
        choice: Math.min(1, Math.max(0, 0.4 + (random() - 0.5) * 0.6)),
      }));
    const promoted = (count: number, before: number, after: number, perplexityFactor = 0.9) => {
      let promotions = 0;
      for (let trial = 0; trial < trials; trial++) {
        const recall = (right: number, factor: number) => ({ recall: { kind: "recall" as const, outcomes: draw(count, right, factor) } });
        if (decide(recall(before, 1), recall(after, perplexityFactor)).decision === "promote") promotions++;
      }
      return promotions / trials;
    };
    for (const [count, right] of [
      [8, 0.3],
      [20, 0],
      [40, 0.3],
    ] as const) {
      expect(promoted(count, right, right), `${count} items, ${right} right before and after`).toBeLessThanOrEqual(0.05);
    }
    expect(promoted(20, 0.1, 0.8, 0.5)).toBeGreaterThan(0.9);
    expect(promoted(40, 0.3, 0.7, 0.5)).toBeGreaterThan(0.8);
  });
});

describe("the statistics", () => {
  it("cover the true difference in about 95 of 100 intervals", () => {
    const random = seededRandom(3);
    let covered = 0;
    for (let trial = 0; trial < 300; trial++) {
      const baseline = Array.from({ length: 40 }, () => (random() < 0.4 ? 1 : 0));
      const candidate = baseline.map((value) => (random() < 0.3 ? 1 : value));
      // true difference: .3 × .6
      const { low, high } = pairedBootstrap(baseline, candidate, { resamples: 1000, seed: trial });
      if (low <= 0.18 && 0.18 <= high) covered++;
    }
    expect(covered / 300).toBeGreaterThan(0.9);
  });

  it("know the exact sign test's textbook values", () => {
    const ones = (count: number) => Array<number>(count).fill(1);
    const zeros = (count: number) => Array<number>(count).fill(0);
    expect(exactSignTest(zeros(5), ones(5))).toBeCloseTo(0.0625, 10);
    expect(exactSignTest([...zeros(9), 1], [...ones(9), 0])).toBeCloseTo(22 / 1024, 10);
    expect(exactSignTest(ones(4), ones(4))).toBe(1);
  });
});

describe("the pairing check", () => {
  const pairsOf = (of: ReturnType<typeof facts>) =>
    corrections(of).map((input) => ({ prompt: input.prompt as string, response: input.correction as string }));

  it("passes answers that belong to their questions", async () => {
    for (const count of [6, 20, 60]) {
      const found = await assessPairing(pairsOf(facts(count)));
      expect(found.reason.verdict).toBe("pass");
      expect(found.misplaced).toBeLessThan(0.1);
    }
  });

  it("fails answers shuffled row by row, and permuted fact by fact", async () => {
    for (const count of [6, 20, 60]) {
      const pairs = pairsOf(facts(count));
      const answers = shuffled(
        pairs.map((pair) => pair.response),
        seededRandom(count),
      );
      const rows = await assessPairing(pairs.map((pair, index) => ({ ...pair, response: answers[index] as string })));
      expect(rows.reason, `${count} facts, rows`).toMatchObject({ verdict: "fail" });
      const consistent = await assessPairing(pairsOf(permuted(facts(count))));
      expect(consistent.reason, `${count} facts, permuted`).toMatchObject({ verdict: "fail" });
    }
  });

  it("abstains where answers never restate their questions", async () => {
    const words = ["Yes.", "No.", "Blue.", "42", "Room B12.", "Petrescu.", "Tuesday.", "The second floor.", "Seven euros.", "Never."];
    const pairs = pairsOf(facts(40)).map((pair, index) => ({ ...pair, response: words[Math.floor(index / 3) % words.length] as string }));
    const found = await assessPairing(pairs);
    expect(found.reason).toMatchObject({ verdict: "pass", message: expect.stringContaining("no signal") });
  });

  it("abstains on one answer for everything, and on nothing", async () => {
    expect((await assessPairing([])).reason.verdict).toBe("pass");
    const same = pairsOf(facts(20)).map((pair) => ({ ...pair, response: "Please ask the caretaker of the greenhouse." }));
    expect((await assessPairing(same)).reason.verdict).toBe("pass");
  });
});
