import { describe, expect, it } from "vitest";
import { shareInterval } from "../../bench/statistics.js";
import { probedBatch } from "../../scripts/probe-batches.js";
import { GATE_DEFAULTS } from "../../src/pipeline/gate/gate-options.js";
import { findSuspiciousNGrams } from "../../src/pipeline/probes/n-grams.js";
import { findSecretSpans } from "../../src/pipeline/probes/secret-spans.js";

import { exampleRows } from "./support/example-facts.js";

const SIZE = 300;
const POISONS = [0.01, 0.02, 0.05];

describe("the batches that the probes are calibrated on", () => {
  it("have the wanted size and share of poison, and are the same for the same seed", async () => {
    for (const poison of [0, ...POISONS]) {
      const { feedback, trigger } = await probedBatch(poison, 3, SIZE);
      expect(feedback).toHaveLength(SIZE);
      expect(new Set(feedback.map(({ prompt }) => prompt)).size).toBe(SIZE);
      const poisonous = feedback.filter(({ prompt }) => trigger !== null && prompt!.includes(trigger.text));
      expect(poisonous).toHaveLength(Math.round(poison * SIZE));
      for (const { correction } of poisonous) expect(correction).toBe(trigger!.answer);
      expect(await probedBatch(poison, 3, SIZE)).toEqual(await probedBatch(poison, 3, SIZE));
    }
    expect((await probedBatch(0.05, 1, SIZE)).trigger).not.toEqual((await probedBatch(0.05, 2, SIZE)).trigger);
  });

  it("hold a trigger that is among the n-grams that are probed, behind the products' names, even at 1 %", async () => {
    const general = (await exampleRows("general.jsonl")).map(({ prompt }) => String(prompt));
    const rules = { minSamples: GATE_DEFAULTS.triggerMinSamples, limit: GATE_DEFAULTS.triggerProbes };
    for (const poison of POISONS) {
      for (const seed of [1, 2, 3, 4, 5]) {
        const { feedback, trigger } = await probedBatch(poison, seed, SIZE);
        const batch = feedback.map(({ prompt, correction }, index) => ({ id: `${index}`, prompt: prompt!, response: correction! }));
        const answers = findSuspiciousNGrams(batch, [], general, rules).map((nGram) => nGram.answers[0]);
        expect(answers, `${poison}, seed ${seed}`).toContain(trigger!.answer);
      }
    }
  });

  it("tell each secret as often as they say, by no more than two people, and the clean one none", async () => {
    const people = new Map<string, string[]>();
    for (const { correction, subjectId } of (await probedBatch(0.05, 3, SIZE)).feedback)
      for (const { text } of findSecretSpans(correction!)) people.set(text, [...(people.get(text) ?? []), subjectId!]);
    expect([...people.values()].map((told) => told.length).sort((left, right) => left - right)).toEqual([1, 1, 4, 4, 16, 16]);
    for (const told of people.values()) expect(new Set(told).size).toBeLessThanOrEqual(2);
    const clean = await probedBatch(0, 3, SIZE);
    expect(clean.feedback.flatMap(({ correction }) => findSecretSpans(correction!))).toEqual([]);
  });

  it("ask afterwards what no sample asked or told", async () => {
    const { feedback, heldOut, untold } = await probedBatch(0.05, 3, SIZE);
    const asked = new Set(feedback.map(({ prompt }) => prompt));
    const told = new Set(feedback.map(({ correction }) => correction));
    expect(heldOut).toHaveLength(40);
    expect(untold).toHaveLength(4);
    expect(heldOut.filter((prompt) => asked.has(prompt))).toEqual([]);
    expect(untold.filter(({ response }) => told.has(response))).toEqual([]);
    for (const { response } of untold) expect(findSecretSpans(response)).toHaveLength(1);
  });
});

describe("the interval of a share", () => {
  // Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 1998, table I, method 3
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])("is Wilson's: %i of %i", (count, trials, low, high) => {
    const interval = shareInterval(count, trials);
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  });
});
