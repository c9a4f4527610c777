import { AbortedError, ValidationError } from "../errors.js";
import { type CallOptions, PreparationOptions, type PreparedData, type Sample } from "../types/index.js";
import { type Duplicate, DuplicateIndex } from "./duplicate-index.js";
import type { QualityChecker } from "./quality-checker.js";
import { type Candidate, isUnusable, type TrainingSource, toCandidate, type Unusable } from "./sample-input.js";
import { type HoldoutOptions, splitSamples, toHoldoutOptions } from "./split.js";
import { StatisticsCollector } from "./statistics.js";
import { hashOf } from "./text-normalisation.js";
import { estimateTokens, type Tokenizer } from "./tokenizer.js";

/** Options of `prepareTrainingData`. */
export type PrepareOptions = PreparationOptions & {
  /** What is held out of training; `false`: nothing. Default `true`. */
  holdout?: HoldoutOptions | boolean;
  /** Domain of samples that name none. Default `general`. */
  domain?: string;
};

/** What preparation works with. */
export interface PreparationParts {
  quality: QualityChecker;
  tokenizer?: Tokenizer;
}

/** How many samples are handled between two looks at the abort signal, and how many texts go to the tokenizer at once. */
const BATCH = 256;

/**
 * Filters, deduplicates, counts and splits samples; every one of them ends in one split or in `report.removed` with its reason. The result does not depend on the order of the input.
 */
export async function prepareCandidates(
  candidates: readonly (Candidate | Unusable)[],
  options: PrepareOptions,
  parts: PreparationParts,
  { signal }: CallOptions = {},
): Promise<PreparedData> {
  const settings = parseOptions(options);
  const holdout = toHoldoutOptions(options.holdout);
  const removed: { sampleId: string; reason: string }[] = [];
  const usable: Sample[] = [];
  for (const candidate of sortCandidates(candidates)) {
    if (signal?.aborted) throw new AbortedError();
    if (isUnusable(candidate)) {
      removed.push(candidate);
      continue;
    }
    const { sample, reason } = await scored(candidate, settings.minQualityScore, parts.quality, signal);
    if (reason) removed.push({ sampleId: sample.id, reason });
    else usable.push(sample);
  }
  const distinct = removeRepeated(usable, settings.removeDuplicates, removed, signal);
  const { short, tokens } = await removeLong(distinct, settings.maxLength, parts.tokenizer, removed, signal);
  const split = splitSamples(short, holdout);
  removed.push(...split.removed);
  const statistics = new StatisticsCollector();
  for (const item of split.items) statistics.add(item, tokens.get(item.sample.id) ?? 0);
  requireHoldout(holdout, split.items);
  return {
    items: split.items,
    report: { received: candidates.length, kept: split.items.length, removed },
    statistics: statistics.result(parts.tokenizer === undefined),
  };
}

/** Samples and search results as candidates; see `toCandidate`. Copies without an id of their own are numbered, so that each is accounted for. */
export function toCandidates(sources: readonly TrainingSource[], domain?: string): (Candidate | Unusable)[] {
  const copies = new Map<string, number>();
  return sources.map((source, index) => {
    const candidate = toCandidate(source, index, domain);
    if (isUnusable(candidate) || ("id" in source && source.id !== undefined)) return candidate;
    const { sample } = candidate;
    const copy = (copies.get(sample.id) ?? 0) + 1;
    copies.set(sample.id, copy);
    return copy === 1 ? candidate : { ...candidate, sample: { ...sample, id: `${sample.id}_${copy}` } };
  });
}

function parseOptions(options: PrepareOptions): ReturnType<typeof PreparationOptions.parse> {
  const parsed = PreparationOptions.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ValidationError("input_invalid", `The preparation option ${issue?.path.join(".")} is invalid: ${issue?.message}.`, {
    details: { field: issue?.path.join(".") },
  });
}

/**
 * An order of their own, most important first, then by their texts, so that neither the input's order nor a random id decides anything: the
 * same texts train the same adapter. Of repeated samples the first one stays.
 */
function sortCandidates(candidates: readonly (Candidate | Unusable)[]): (Candidate | Unusable)[] {
  const keyOf = (candidate: Candidate | Unusable): string => {
    if (isUnusable(candidate)) return `0|${candidate.sampleId}|${candidate.reason}`;
    const { sample } = candidate;
    const texts = hashOf(sample.objective, sample.prompt, sample.response);
    return `1|${9 - sample.importance}|${texts}|${sample.id}|${hashOf(JSON.stringify(sample))}`;
  };
  return candidates
    .map((candidate) => ({ candidate, key: keyOf(candidate) }))
    .sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0))
    .map((entry) => entry.candidate);
}

async function scored(
  candidate: Candidate,
  minQualityScore: number,
  quality: QualityChecker,
  signal?: AbortSignal,
): Promise<{ sample: Sample; reason?: string }> {
  const { sample, kind, hasScore } = candidate;
  // What came through the feedback intake was judged there, perhaps by a person; and a rated answer may be rude, for it is not imitated.
  const skip = sample.feedbackId !== undefined || sample.objective === "preference" ? (["profanity", "toxicity"] as const) : [];
  const report = await quality.check(sample, { kind, skip, signal });
  const failed = report.checks.find(
    (check) => !check.passed && (sample.objective === "imitate" || check.name === "encoding" || isTooLarge(sample, quality)),
  );
  const score = hasScore ? sample.qualityScore : report.score;
  const result = { sample: { ...sample, qualityScore: score } };
  if (failed) return { ...result, reason: `quality_${failed.name}: ${failed.reason ?? "failed"}` };
  if (sample.objective === "imitate" && score < minQualityScore)
    return { ...result, reason: `quality_score: ${score} is below ${minQualityScore}` };
  return result;
}

function isTooLarge(sample: Sample, quality: QualityChecker): boolean {
  return sample.prompt.length > quality.maxLength || sample.response.length > quality.maxLength;
}

function removeRepeated(samples: readonly Sample[], removeDuplicates: boolean, removed: Unusable[], signal?: AbortSignal): Sample[] {
  const ids = new Set<string>();
  const indexes = { imitate: new DuplicateIndex(), preference: new DuplicateIndex() };
  return samples.filter((sample) => {
    if (signal?.aborted) throw new AbortedError();
    if (ids.has(sample.id)) {
      removed.push({ sampleId: sample.id, reason: "duplicate_id: another sample has the same id" });
      return false;
    }
    ids.add(sample.id);
    if (!removeDuplicates) return true;
    const found: Duplicate | null = indexes[sample.objective].find(sample);
    if (found === null) {
      indexes[sample.objective].add(sample.id, sample);
      return true;
    }
    removed.push({ sampleId: sample.id, reason: `${found.kind}_duplicate: repeats ${found.id}` });
    return false;
  });
}

async function removeLong(
  samples: readonly Sample[],
  maxLength: number,
  tokenizer: Tokenizer | undefined,
  removed: Unusable[],
  signal?: AbortSignal,
): Promise<{ short: Sample[]; tokens: Map<string, number> }> {
  const short: Sample[] = [];
  const tokens = new Map<string, number>();
  for (let start = 0; start < samples.length; start += BATCH) {
    if (signal?.aborted) throw new AbortedError();
    const batch = samples.slice(start, start + BATCH);
    const texts = batch.map((sample) => `${sample.prompt}\n${sample.response}`);
    const counts = tokenizer ? await tokenizer.count(texts) : texts.map(estimateTokens);
    for (const [index, sample] of batch.entries()) {
      const count = counts[index] ?? estimateTokens(texts[index]!);
      tokens.set(sample.id, count);
      if (count <= maxLength) short.push(sample);
      else removed.push({ sampleId: sample.id, reason: `too_long: ${tokenizer ? "" : "about "}${count} tokens; at most ${maxLength}` });
    }
  }
  return { short, tokens };
}

function requireHoldout(holdout: HoldoutOptions, items: PreparedData["items"]): void {
  if (!holdout.required || items.some((item) => item.split === "recall")) return;
  throw new ValidationError(
    "dataset_too_small",
    `Of ${items.length} samples no phrasing can be held out: a fact needs at least three phrasings, or three facts two each. Add samples, or leave holdout.required out.`,
    { details: { samples: items.length } },
  );
}
