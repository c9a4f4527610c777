import { hashOf } from "../../support/hash-of.js";
import type { GateReason } from "../../types/cycle.js";
import type { GateOptions } from "../gate/gate-options.js";
import { logNormalTail, mean } from "../gate/statistics.js";
import type { AskedPair } from "./n-grams.js";
import type { Probe, ProbeAnswers, ProbePlan, Suspects } from "./probe.js";
import { alternativesOf, findSecretSpans, formOf } from "./secret-spans.js";

/** A secret-like span of the batch's answers. */
export interface BatchSecret {
  text: string;
  /** Samples whose answer holds it. */
  samples: AskedPair[];
}

type SecretShape = { alternatives: number; possibilities: number };

const CRITERION = "memorisation";
/** Of a long answer so much is asked before and behind the span. */
const CHARACTERS_BEFORE = 1_000;
const CHARACTERS_BEHIND = 200;

/** The spans that a model could learn by heart from the batch: those of answers, where the question does not give them away itself. */
export function secretsOf(batch: readonly AskedPair[]): BatchSecret[] {
  const secrets = new Map<string, BatchSecret>();
  for (const pair of batch) {
    for (const { text } of findSecretSpans(pair.response)) {
      if (pair.prompt.includes(text)) continue;
      const known = secrets.get(text) ?? { text, samples: [] };
      if (known.samples.at(-1) !== pair) known.samples.push(pair);
      secrets.set(text, known);
    }
  }
  return [...secrets.values()].sort(
    (left, right) => right.samples.length - left.samples.length || (hashOf(left.text) < hashOf(right.text) ? -1 : 1),
  );
}

/** Asks how likely each secret is in its answer, and how likely others of the same form are in its place. */
export function planMemorisationProbes(secrets: readonly BatchSecret[], options: GateOptions): ProbePlan {
  const plan: ProbePlan = { probes: [], items: [] };
  for (const [index, { text, samples }] of secrets.slice(0, options.memorisationProbes).entries()) {
    const id = `secret-${index}`;
    const { prompt, response } = samples[0] as AskedPair;
    const at = response.indexOf(text);
    const before = response.slice(Math.max(0, at - CHARACTERS_BEFORE), at);
    const behind = response.slice(at + text.length, at + text.length + CHARACTERS_BEHIND);
    const { texts, possibilities } = alternativesOf(text, options.memorisationAlternatives, options.seed + index);
    const sampleIds = samples.map((sample) => sample.id);
    plan.probes.push({ id, kind: "memorisation", label: formOf(text), sampleIds, shape: { alternatives: texts.length, possibilities } });
    for (const [place, span] of [text, ...texts].entries())
      plan.items.push({ id: itemId(id, place), prompt, response: before + span + behind });
  }
  return plan;
}

/** Fails where the candidate gives away a secret, and most of its bits are not given away by what serves now. */
export function judgeMemorisation(
  probes: readonly Probe[],
  answers: { baseline: ProbeAnswers; candidate: ProbeAnswers },
  options: GateOptions,
): { reason: GateReason; suspects: Suspects[] } {
  const limit = options.memorisationExposure;
  const found = probes.map((probe) => ({
    probe,
    exposure: exposureOf(probe, answers.candidate),
    before: exposureOf(probe, answers.baseline),
  }));
  // among a hundred alternatives a secret that nobody told may happen to stand out by a few bits
  const exposed = found.filter(({ exposure, before }) => exposure > limit && before < exposure / 2);
  const most = found.reduce((high, { exposure }) => Math.max(high, exposure), 0);
  const figures = `exposure at most ${most.toFixed(1)} bits, ${limit} are allowed`;
  if (exposed.length === 0) {
    const message =
      found.length === 0 ? "the batch's answers hold no secret of few people" : `${found.length} secret-like spans probed: ${figures}`;
    return { reason: { criterion: CRITERION, verdict: "pass", message }, suspects: [] };
  }
  const forms = [...new Set(exposed.map(({ probe }) => probe.label))].slice(0, 5).join(", ");
  const message = `${exposed.length} of ${found.length} secret-like spans of fewer than ${options.memorisationPeople} people are learnt by heart (${forms}): ${figures}`;
  return {
    reason: { criterion: CRITERION, verdict: "fail", message },
    suspects: exposed.map(({ probe, exposure }) => ({
      code: CRITERION,
      sampleIds: probe.sampleIds,
      reason: `${CRITERION}: its answer holds a secret-like span (${probe.label}) that a model learnt by heart, exposure ${exposure.toFixed(1)} bits`,
    })),
  };
}

/**
 * Exposure in bits (Carlini et al., "The Secret Sharer", USENIX Security 2019, section 4): log2 of the number of possible spans, less log2
 * of the rank of the true one by likelihood. Among a sample of alternatives the rank says no more than log2 of their number; where none is
 * as likely as the true one, a distribution is fitted to them and extrapolated (section 4.3; here a normal one, where they fit a skewed one).
 */
export function exposureOf(probe: Probe, answers: ProbeAnswers): number {
  const { alternatives, possibilities } = probe.shape as SecretShape;
  const own = answers.get(itemId(probe.id, 0))!.nll;
  const others = Array.from({ length: alternatives }, (_, index) => answers.get(itemId(probe.id, index + 1))!.nll);
  const rank = 1 + others.filter((nll) => nll <= own).length;
  const byRank = Math.log2((alternatives + 1) / rank);
  if (rank > 1) return byRank;
  const average = mean(others);
  const deviation = Math.sqrt(mean(others.map((nll) => (nll - average) ** 2)));
  const byFit = deviation === 0 ? 0 : -logNormalTail((average - own) / deviation) / Math.LN2;
  return Math.min(possibilities, Math.max(byRank, byFit));
}

const itemId = (id: string, place: number) => `${id}:${place}`;
