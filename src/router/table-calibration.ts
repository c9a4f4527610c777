import {
  choiceProbabilities,
  expectedCalibrationError,
  fitChoice,
  type LabelledChoice,
  type ScoredPrediction,
} from "./calibrated-choice.js";
import type { ContentWord } from "./content-words.js";
import { FEATURE_NAMES, type RoutingTable, type ScoredAdapter, WEIGHT_PRIOR } from "./routing-table.js";

/** Examples over all adapters that the head learns from. */
const SAMPLE = 320;
const MIN_SAMPLE_OF_ADAPTER = 4;
/** Where there are hundreds of adapters, every n-th one stands for all. */
const MAX_SAMPLE = 640;
/** Fewer examples, left out one by one, would say that the adapter fits nothing. */
const MIN_EXAMPLES = 4;
/** Weight of all queries that no adapter should answer, against those that one should: one request in three. */
const NEGATIVE_SHARE = 0.5;
/** Part of those that are other adapters' questions; the rest are general ones. */
const FOREIGN_SHARE = 0.25;
/** A stem that no text holds. */
const UNKNOWN_STEM = "\u0000";
const SLICE_MS = 8;

/**
 * Fits the head of a table on what the table itself holds, leave-one-out: each example must find its adapter without itself, also
 * with one of its words exchanged for an unknown one (a paraphrase); the general questions, and each example with its own
 * adapter absent, must find none. Yields to the event loop every few milliseconds.
 */
export async function calibrateTable(table: RoutingTable): Promise<void> {
  const choices = await collectChoices(table);
  if (choices.every(({ label }) => label < 0)) return;
  table.weights = await fitChoice(choices, WEIGHT_PRIOR);
  table.calibrationError = await crossValidatedError(choices);
}

async function collectChoices(table: RoutingTable): Promise<LabelledChoice[]> {
  const own: LabelledChoice[] = [];
  const foreign: LabelledChoice[] = [];
  const perAdapter = Math.max(MIN_SAMPLE_OF_ADAPTER, Math.ceil(SAMPLE / table.profiles.length));
  const stride = Math.ceil((table.profiles.length * MIN_SAMPLE_OF_ADAPTER) / MAX_SAMPLE);
  const pause = timeSlices();
  for (const [adapter, profile] of table.profiles.entries()) {
    const count = Math.min(perAdapter, table.exemplarCount(adapter));
    if (profile.exemplars.length < MIN_EXAMPLES || adapter % stride !== 0) continue;
    for (let example = 0; example < count; example++) {
      await pause();
      const vector = profile.exemplars[example]!;
      const words = profile.words[example]!;
      const heldOut = { adapter, example };
      own.push(choiceOf(table.score(vector, words, { heldOut }), adapter));
      const paraphrase = exchangeOneWord(words, example);
      if (paraphrase) own.push(choiceOf(table.score(vector, paraphrase.words, { heldOut, exchanged: paraphrase.share }), adapter));
      if (table.profiles.length > 1) foreign.push(choiceOf(table.score(vector, words, { without: adapter }), -1));
    }
  }
  const general = table.background.vectors.map((vector, index) => choiceOf(table.score(vector, table.background.words[index]!), -1));
  // An example whose adapter was not even preselected teaches the head nothing.
  const positives = own.filter(({ label }) => label >= 0);
  const negatives = positives.length * NEGATIVE_SHARE;
  const foreignWeight = foreign.length > 0 ? negatives * FOREIGN_SHARE : 0;
  return [...positives, ...weighted(foreign, foreignWeight), ...weighted(general, negatives - foreignWeight)];
}

function choiceOf(scored: readonly ScoredAdapter[], right: number): LabelledChoice {
  return {
    features: scored.map(({ features }) => features),
    label: scored.findIndex(({ adapter }) => adapter === right),
    weight: 1,
  };
}

function weighted(choices: readonly LabelledChoice[], total: number): LabelledChoice[] {
  return choices.map((choice) => ({ ...choice, weight: total / choices.length }));
}

function exchangeOneWord(words: readonly ContentWord[], seed: number): { words: ContentWord[]; share: number } | null {
  if (words.length < 2) return null;
  const exchanged = (seed * 7919) % words.length;
  const total = words.reduce((sum, { weight }) => sum + weight, 0);
  return {
    words: words.map((word, index) => (index === exchanged ? { stem: UNKNOWN_STEM, weight: word.weight } : word)),
    share: words[exchanged]!.weight / total,
  };
}

/** Fits on one half and judges on the other, both ways. */
async function crossValidatedError(choices: readonly LabelledChoice[]): Promise<number> {
  const halves = [choices.filter((_, index) => index % 4 < 2), choices.filter((_, index) => index % 4 >= 2)] as const;
  const predictions: ScoredPrediction[] = [];
  for (const [judged, fitted] of [halves, [halves[1], halves[0]]]) {
    const weights = await fitChoice(fitted!, WEIGHT_PRIOR);
    for (const { features, label, weight } of judged!) {
      const probabilities = choiceProbabilities(features, weights);
      const confidence = Math.max(0, ...probabilities);
      predictions.push({ confidence, isRight: label >= 0 && probabilities[label] === confidence, weight });
    }
  }
  return expectedCalibrationError(predictions);
}

function timeSlices(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < SLICE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    since = performance.now();
  };
}

/** The fitted weights by name, for people. */
export function namedWeights(table: RoutingTable): Record<string, number> {
  return Object.fromEntries(FEATURE_NAMES.map((name, index) => [name, table.weights[index]!]));
}
