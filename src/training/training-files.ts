import type { DatasetItem } from "../types/dataset.js";
import type { EvaluationRow, TrainingRow } from "../types/runtime-protocol.js";

/** Importance of a sample that says none; it has weight 1. */
const USUAL_IMPORTANCE = 3;

/** Sources whose rows the trainer must use as they stand. */
const VERBATIM_SOURCES: Record<string, TrainingRow["source"]> = { retrieved: "retrieved", search: "retrieved", replay: "replay" };

/** Prompt and answer without a dataset around them (replay, regression sets). */
export interface PromptPair {
  prompt: string;
  response: string;
  id?: string;
  group?: string;
}

/** The training row of a dataset item; the loss weight is importance / 3. */
export function trainingRow({ sample }: DatasetItem): TrainingRow {
  return {
    id: sample.id,
    messages: [{ role: "user", content: sample.prompt }],
    response: sample.response,
    weight: sample.importance / USUAL_IMPORTANCE,
    source: VERBATIM_SOURCES[sample.source] ?? "feedback",
  };
}

export function replayRow(pair: PromptPair, index: number): TrainingRow {
  return {
    id: pair.id ?? `replay-${index + 1}`,
    messages: [{ role: "user", content: pair.prompt }],
    response: pair.response,
    source: "replay",
  };
}

/** An earlier sample as a training row: like new feedback, so that its question may be varied too. */
function rehearsalRow(pair: PromptPair, index: number): TrainingRow {
  return { ...replayRow(pair, index), id: pair.id ?? `rehearsal-${index + 1}`, source: "feedback" };
}

/** The training file: the data set's own rows, then the earlier ones. */
export async function* trainingLines(items: AsyncIterable<DatasetItem>, rehearsal: readonly PromptPair[]): AsyncIterable<string> {
  yield* jsonLines(items, trainingRow);
  yield* jsonLines(rehearsal, rehearsalRow);
}

export function evaluationRow(pair: PromptPair, index: number): EvaluationRow {
  return {
    id: pair.id ?? `item-${index + 1}`,
    messages: [{ role: "user", content: pair.prompt }],
    response: pair.response,
    ...(pair.group === undefined ? {} : { group: pair.group }),
  };
}

/** JSON lines, one row at a time. */
export async function* jsonLines<T>(
  items: Iterable<T> | AsyncIterable<T>,
  toRow: (item: T, index: number) => TrainingRow | EvaluationRow,
): AsyncIterable<string> {
  let index = 0;
  for await (const item of items) yield `${JSON.stringify(toRow(item, index++))}\n`;
}
