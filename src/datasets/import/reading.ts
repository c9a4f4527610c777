import type { DatasetItem, FeedbackInput } from "../../types/index.js";
import type { SampleInput } from "../sample-input.js";
import type { Problem } from "./record.js";

/**
 * What one record says: a row that is prepared already, a sample, feedback, or why it is none of them. A record may say several; `entry` is the place in a page,
 * from 1.
 */
export type Reading = ({ item: DatasetItem } | { sample: SampleInput } | { feedback: FeedbackInput } | { problem: Problem }) & {
  entry?: number;
};

/** Reads one record of a format. */
export type RecordReader = (value: unknown) => Reading[];

/** One problem as the only reading of a record. */
export function problem(code: Problem["code"], message: string): Reading[] {
  return [{ problem: { code, message } }];
}

/** The shape is not the named format's. */
export function unknownShape(expected: string): Reading[] {
  return problem("shape_unknown", `it has not the shape ${expected}`);
}

/** The entries of a page of an API, each with its place. */
export function readPage(entries: readonly unknown[], read: RecordReader): Reading[] {
  return entries.flatMap((value, index) => read(value).map((reading) => ({ ...reading, entry: index + 1 })));
}
