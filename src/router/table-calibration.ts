import {
  choiceProbabilities,
  expectedCalibrationError,
  fitChoice,
  type LabelledChoice,
  type ScoredPrediction,
  utilityOf,
  type WeightPrior,
} from "./calibrated-choice.js";
import { exchangeOneWord } from "./question.js";
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
const FOLDS = 5;
/** One free number over hundreds of choices needs little prior. */
const SCALE_PRIOR: WeightPrior = { mean: [1], precision: [1] };
const SLICE_MS = 8;

/**
 * Fits the head of a table on what the table itself holds, leave-one-out: each example must find its adapter without itself, also
 * with one of its words exchanged for an unknown one (a paraphrase); the general questions, and each example with its own
 * adapter absent, must find none. A temperature fitted on held-out folds then scales the head. Yields to the event loop every few milliseconds.
 */
export async function calibrateTable(table: RoutingTable): Promise<void> {
  const choices = await collectChoices(table);
  if (choices.every(({ label }) => label < 0)) return;
  const weights = await fitChoice(choices, WEIGHT_PRIOR);
  const { scale, calibrationError } = await heldOutScale(choices);
  table.weights = weights.map((weight) => weight * scale);
  table.calibrationError = calibrationError;
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
      const question = profile.questions[example]!;
      const heldOut = { adapter, example };
      own.push(choiceOf(table.score(vector, question, { heldOut }), adapter));
      const paraphrase = exchangeOneWord(question, example);
      if (paraphrase) own.push(choiceOf(table.score(vector, paraphrase.question, { heldOut, exchanged: paraphrase.share }), adapter));
      if (table.profiles.length > 1) foreign.push(choiceOf(table.score(vector, question, { without: adapter }), -1));
    }
  }
  const general = table.background.vectors.map((vector, index) => choiceOf(table.score(vector, table.background.questions[index]!), -1));
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

/**
 * The scale of the utilities that makes held-out choices most likely (a temperature, Guo et al. 2017), fitted on folds that the
 * weights were not; and the calibration error that is left there. It only softens: users phrase questions more freely than
 * examples are phrased, so examples that find each other with ease are no reason to be surer of questions.
 */
async function heldOutScale(choices: readonly LabelledChoice[]): Promise<{ scale: number; calibrationError: number }> {
  const heldOut: LabelledChoice[] = [];
  for (let fold = 0; fold < FOLDS; fold++) {
    // An example and its paraphrase lie side by side and share a fold.
    const isJudged = (index: number): boolean => (index >> 1) % FOLDS === fold;
    const weights = await fitChoice(
      choices.filter((_, index) => !isJudged(index)),
      WEIGHT_PRIOR,
    );
    for (const choice of choices.filter((_, index) => isJudged(index))) {
      heldOut.push({ ...choice, features: choice.features.map((values) => [utilityOf(values, weights)]) });
    }
  }
  const scale = Math.min(1, (await fitChoice(heldOut, SCALE_PRIOR))[0]!);
  const predictions = heldOut.map(({ features, label, weight }): ScoredPrediction => {
    const probabilities = choiceProbabilities(features, [scale]);
    const confidence = Math.max(0, ...probabilities);
    return { confidence, isRight: label >= 0 && probabilities[label] === confidence, weight };
  });
  return { scale, calibrationError: expectedCalibrationError(predictions) };
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
