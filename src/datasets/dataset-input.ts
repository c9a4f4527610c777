import { z } from "zod";
import { ValidationError } from "../errors.js";
import {
  type CallOptions,
  type Dataset,
  DatasetItem,
  type FeedbackInput,
  type PreparedData,
  SearchQuery,
  type SearchResult,
  Slug,
} from "../types/index.js";
import { type PreparationParts, type PrepareOptions, prepareCandidates, toCandidates } from "./preparation.js";
import { fromFeedback, type TrainingSource } from "./sample-input.js";
import { StatisticsCollector } from "./statistics.js";
import { estimateTokens } from "./tokenizer.js";

/** What `create` makes a dataset of: one of `samples`, `items`, `query`, `feedback`. */
export interface DatasetInput {
  /** 3..100 characters; a name that is there already gets its next version. */
  name: string;
  description?: string;
  domain?: string;
  /** Prepared first (filtered, deduplicated, split). */
  samples?: readonly TrainingSource[];
  /** Rows that are prepared already, taken as they stand. */
  items?: readonly DatasetItem[];
  /** The search whose results become samples. */
  query?: SearchQuery;
  /** Feedback that becomes samples: corrections and thumbs up to imitate, thumbs down as preferences. */
  feedback?: readonly FeedbackInput[];
  lineage?: Dataset["lineage"];
  preparation?: PrepareOptions;
}

/** Rows with where they come from. */
export interface CollectedRows {
  prepared: PreparedData;
  lineage: Dataset["lineage"];
  /** True for rows that were given prepared. */
  isPrepared: boolean;
}

/** Every field of `DatasetInput`; a misspelt one would be left out without a word. */
const FIELDS = [
  "name",
  "description",
  "domain",
  "samples",
  "items",
  "query",
  "feedback",
  "lineage",
  "preparation",
] as const satisfies (keyof DatasetInput)[];

const Header = z.object({
  name: z.string().trim().min(3).max(100),
  description: z.string().max(10_000).optional(),
  domain: Slug.optional(),
});

/** Name, description and domain of a new dataset. @throws ValidationError `input_invalid`, naming the field */
export function parseHeader(input: Pick<DatasetInput, "name" | "description" | "domain">): z.infer<typeof Header> {
  const header = Header.safeParse(input);
  if (header.success) return header.data;
  const issue = header.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  throw new ValidationError(
    "input_invalid",
    `What the dataset is made of is invalid${field === "" ? "" : ` at ${field}`}: ${issue?.message}.`,
    { details: { field } },
  );
}

/** Makes rows of what was given. @throws ValidationError where not exactly one thing was given, or a part of it is invalid */
export async function collectRows(
  input: DatasetInput,
  preparation: PrepareOptions,
  parts: PreparationParts & { search(query: SearchQuery, options: CallOptions): Promise<SearchResult[]> },
  options: CallOptions,
): Promise<CollectedRows> {
  const unknown = Object.keys(input).filter((field) => !(FIELDS as readonly string[]).includes(field));
  if (unknown.length > 0) {
    const message = `A dataset is not made of ${unknown.map((field) => JSON.stringify(field)).join(", ")}. There are: ${FIELDS.join(", ")}.`;
    throw new ValidationError("input_invalid", message, { details: { unknown } });
  }
  const given = (["samples", "items", "query", "feedback"] as const).filter((field) => input[field] !== undefined);
  if (given.length !== 1) {
    const problem = given.length === 0 ? "none was given" : `${given.join(" and ")} were given`;
    throw new ValidationError("input_invalid", `Give exactly one of samples, items, query, feedback; ${problem}.`, { details: { given } });
  }
  if (input.items) {
    const prepared = await asPrepared(requireArray("items", input.items), parts);
    return { prepared, lineage: { source: "items", ...sampleIdsOf(prepared) }, isPrepared: true };
  }
  if (input.feedback) {
    const candidates = requireArray("feedback", input.feedback).map((feedback, index) => fromFeedback(feedback, index, preparation.domain));
    const prepared = await prepareCandidates(candidates, preparation, parts, options);
    return { prepared, lineage: { source: "feedback", feedbackIds: candidates.length, ...sampleIdsOf(prepared) }, isPrepared: false };
  }
  const sources = input.query ? await parts.search(input.query, options) : requireArray("samples", input.samples ?? []);
  const prepared = await prepareCandidates(toCandidates(sources, preparation.domain), preparation, parts, options);
  const origin = input.query
    ? ({ source: "query", query: JSON.stringify(SearchQuery.parse(input.query)) } as const)
    : ({ source: "samples" } as const);
  return { prepared, lineage: { ...origin, ...sampleIdsOf(prepared) }, isPrepared: false };
}

/** Bounds the lineage of a dataset; the whole list stands in its rows. */
export const KEPT_SAMPLE_IDS = 1000;

function sampleIdsOf(prepared: PreparedData): { sampleIds: string[] } {
  return { sampleIds: prepared.items.slice(0, KEPT_SAMPLE_IDS).map((item) => item.sample.id) };
}

/** @throws ValidationError `input_invalid` where a host without types passes something else */
export function requireArray<T>(field: string, value: readonly T[]): readonly T[] {
  if (Array.isArray(value)) return value;
  throw new ValidationError("input_invalid", `${field} must be an array.`, { details: { field } });
}

/** The error of a dataset without rows, with why there are none. */
export function emptyDataset(name: string, report: PreparedData["report"]): ValidationError {
  const reasons = [...new Set(report.removed.map(({ reason }) => reason.split(":", 1)[0]!))];
  const why =
    report.received === 0 ? "there is nothing to make it of" : `all ${report.received} samples were removed (${reasons.join(", ")})`;
  return new ValidationError("dataset_empty", `The dataset ${JSON.stringify(name)} would be empty: ${why}.`, {
    details: { name, received: report.received, reasons, removed: report.removed.slice(0, 20) },
  });
}

async function asPrepared(items: readonly DatasetItem[], { tokenizer }: PreparationParts): Promise<PreparedData> {
  const statistics = new StatisticsCollector();
  for (const [index, item] of items.entries()) {
    const parsed = DatasetItem.safeParse(item);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      const field = issue?.path.join(".") ?? "";
      throw new ValidationError("input_invalid", `Item ${index} is invalid at ${field}: ${issue?.message}.`, { details: { index, field } });
    }
    const text = `${item.sample.prompt}\n${item.sample.response}`;
    statistics.add(item, (await tokenizer?.count([text]))?.[0] ?? estimateTokens(text));
  }
  const report = { received: items.length, kept: items.length, removed: [] };
  return { items: [...items], report, statistics: statistics.result(tokenizer === undefined) };
}
