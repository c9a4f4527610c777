import { timeSlices } from "../support/time-slices.js";
import {
  choiceProbabilities,
  expectedCalibrationError,
  fitChoice,
  type LabelledChoice,
  type ScoredPrediction,
  utilityOf,
  type WeightPrior,
} from "./calibrated-choice.js";
import type { LinearProbes } from "./linear-probes.js";
import { exchangeWords } from "./question.js";
import { FEATURE_NAMES, type RoutingTable, type ScoredAdapter, WEIGHT_PRIOR, type Wording } from "./routing-table.js";

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
const FOREIGN_SHARE = 0.5;
/** Share of the content words that a free paraphrase exchanges; the careful one exchanges one. */
const FREE_PARAPHRASE = 0.5;
const FOLDS = 5;
/** One free number over hundreds of choices needs little prior. */
const SCALE_PRIOR: WeightPrior = { mean: [1], precision: [1] };

/**
 * Fits the head of a table on what the table itself holds, leave-one-out: each example must find its adapter without itself, also
 * with one of its words exchanged for an unknown one (a paraphrase); the general questions, and each example with its own
 * adapter absent, must find none. A temperature then scales the head: it is fitted on held-out folds, and on paraphrases only, half of
 * which keep but half of the words, since users ask more freely than examples are put. Yields to the event loop every few milliseconds.
 */
export async function calibrateTable(table: RoutingTable, probes: LinearProbes): Promise<void> {
  const { examples, careful, free, foreign, general } = await collectChoices(table, probes);
  if (examples.length === 0) return;
  const choices = withNegatives([...examples, ...careful], foreign, general);
  const weights = await fitChoice(choices, WEIGHT_PRIOR);
  const { scale, calibrationError } = await heldOutScale(choices, withNegatives([...careful, ...free], foreign, general), weights);
  table.weights = weights.map((weight) => weight * scale);
  table.calibrationError = calibrationError;
}

/** A choice and the example that it is about: what is about one example shares a fold. */
type AboutExample = LabelledChoice & { about: number };

interface Choices {
  examples: AboutExample[];
  /** The examples with one word exchanged. */
  careful: AboutExample[];
  /** The examples with half of their words exchanged. */
  free: AboutExample[];
  /** The examples without their adapter. */
  foreign: AboutExample[];
  general: AboutExample[];
}

async function collectChoices(table: RoutingTable, probes: LinearProbes): Promise<Choices> {
  const choices: Choices = { examples: [], careful: [], free: [], foreign: [], general: [] };
  const perAdapter = Math.max(MIN_SAMPLE_OF_ADAPTER, Math.ceil(SAMPLE / table.profiles.length));
  const stride = Math.ceil((table.profiles.length * MIN_SAMPLE_OF_ADAPTER) / MAX_SAMPLE);
  const pause = timeSlices();
  let about = 0;
  for (const [adapter, profile] of table.profiles.entries()) {
    const count = Math.min(perAdapter, table.exemplarCount(adapter));
    if (profile.exemplars.length < MIN_EXAMPLES || adapter % stride !== 0) continue;
    for (let example = 0; example < count; example++) {
      await pause();
      about++;
      const vector = profile.exemplars[example]!;
      const question = profile.questions[example]!;
      const own = { question, heldOut: { adapter, example }, leverage: probes.leverage(vector) };
      const careful = exchangeWords(question, 0, example);
      const free = exchangeWords(question, FREE_PARAPHRASE, example);
      const wordings: [Choices[keyof Choices], Wording][] = [[choices.examples, own]];
      if (careful) wordings.push([choices.careful, { ...own, ...careful }]);
      if (free) wordings.push([choices.free, { ...own, ...free }]);
      if (table.profiles.length > 1) wordings.push([choices.foreign, { ...own, heldOut: undefined, without: adapter }]);
      for (const [position, scored] of table
        .score(
          vector,
          wordings.map(([, wording]) => wording),
        )
        .entries()) {
        const [to, { without }] = wordings[position]!;
        // An example whose adapter was not even preselected teaches the head nothing.
        if (without === adapter) to.push({ ...choiceOf(scored, -1), about });
        else if (scored.some((one) => one.adapter === adapter)) to.push({ ...choiceOf(scored, adapter), about });
      }
    }
  }
  for (const [index, vector] of table.background.vectors.entries()) {
    const [scored] = table.score(vector, [{ question: table.background.questions[index]! }]) as [ScoredAdapter[]];
    choices.general.push({ ...choiceOf(scored, -1), about: ++about });
  }
  return choices;
}

/** These choices and those that no adapter should get, in the presumed mix. */
function withNegatives(
  positives: readonly AboutExample[],
  foreign: readonly AboutExample[],
  general: readonly AboutExample[],
): AboutExample[] {
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

function weighted(choices: readonly AboutExample[], total: number): AboutExample[] {
  return choices.map((choice) => ({ ...choice, weight: total / choices.length }));
}

/**
 * The scale of the utilities that makes the judged choices most likely (a temperature, Guo et al. 2017) by weights that were fitted
 * without their examples; and the calibration error that this leaves on those that were fitted. It only softens: examples that find each
 * other with ease are no reason to be surer of users' questions. The fits start from `weights`, which are near.
 */
async function heldOutScale(
  fitted: readonly AboutExample[],
  judged: readonly AboutExample[],
  weights: readonly number[],
): Promise<{ scale: number; calibrationError: number }> {
  const heldOut = { fitted: [] as LabelledChoice[], judged: [] as LabelledChoice[] };
  for (let fold = 0; fold < FOLDS; fold++) {
    const isHeldOut = ({ about }: AboutExample): boolean => about % FOLDS === fold;
    const without = await fitChoice(
      fitted.filter((choice) => !isHeldOut(choice)),
      WEIGHT_PRIOR,
      weights,
    );
    const utilities = (choice: AboutExample) => ({ ...choice, features: choice.features.map((values) => [utilityOf(values, without)]) });
    heldOut.fitted.push(...fitted.filter(isHeldOut).map(utilities));
    heldOut.judged.push(...judged.filter(isHeldOut).map(utilities));
  }
  const scale = Math.min(1, (await fitChoice(heldOut.judged, SCALE_PRIOR))[0]!);
  const predictions = heldOut.fitted.map(({ features, label, weight }): ScoredPrediction => {
    const probabilities = choiceProbabilities(features, [scale]);
    const confidence = Math.max(0, ...probabilities);
    return { confidence, isRight: label >= 0 && probabilities[label] === confidence, weight };
  });
  return { scale, calibrationError: expectedCalibrationError(predictions) };
}

/** The fitted weights by name, for people. */
export function namedWeights(table: RoutingTable): Record<string, number> {
  return Object.fromEntries(FEATURE_NAMES.map((name, index) => [name, table.weights[index]!]));
}
