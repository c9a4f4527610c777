import { z } from "zod";
import { AbortedError, ValidationError } from "../errors.js";
import { hashOf } from "../support/hash-of.js";
import { type CallOptions, type DatasetItem, PreparationOptions, type Sample, type SplitName } from "../types/index.js";
import { groupKeyOf, isGenericAnswer } from "./answer-group.js";
import { comparablePair, decisiveKeyOf, exactKeyOf, similarityOf } from "./comparable-text.js";
import { inGroups } from "./export/in-groups.js";
import { HashNumbers } from "./hash-numbers.js";
import { NearCandidates } from "./near-candidates.js";
import { Numbers } from "./numbers.js";
import { PromptClusters } from "./prompt-clusters.js";
import type { QualityChecker } from "./quality-checker.js";
import type { Removals } from "./removals.js";
import { type Candidate, isUnusable, type Unusable } from "./sample-input.js";
import type { SampleShelf } from "./sample-shelf.js";
import { bandHashesOf, signatureOf } from "./shingles.js";
import { drawHeldOut, HoldoutChoice, type HoldoutOptions, toHoldoutOptions } from "./split.js";
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

const CheckedOptions = PreparationOptions.extend({
  holdout: z.union([z.boolean(), HoldoutChoice]).optional(),
  domain: z.string().optional(),
}).strict();

/** How many texts go to the tokenizer at once. */
const BATCH = 256;

/** Prepared rows; they are read again whenever they are asked for. */
export interface PreparedRows {
  received: number;
  kept: number;
  removals: Removals;
  /** In their order, with the tokens of question and answer. */
  rows(): AsyncIterable<{ item: DatasetItem; tokens: number }>;
}

/**
 * Filters, deduplicates, counts and splits candidates that come in the order of `orderKeyOf`. They are read once, their samples stand on the shelf; what is kept in
 * memory besides does not grow with the length of their texts.
 */
export async function prepareRows(
  candidates: AsyncIterable<Candidate | Unusable> | Iterable<Candidate | Unusable>,
  options: PrepareOptions,
  parts: PreparationParts & { shelf: SampleShelf; removals: Removals },
  { signal }: CallOptions = {},
): Promise<PreparedRows> {
  const settings = parseOptions(options);
  const holdout = toHoldoutOptions(options.holdout);
  const { shelf, removals } = parts;
  const shelved = await shelve(candidates, settings, parts, signal);
  const isGone = new Uint8Array(shelved.count);
  const remove = (row: number, sampleId: string, reason: string): void => {
    isGone[row] = 1;
    removals.add(sampleId, reason);
  };
  if (shelved.near) await removeNear(shelved.near, shelf, remove, signal);
  const tokens = await removeLong(settings.maxLength, parts, isGone, remove, signal);
  const splitOf = await splitRows(shelf, isGone, holdout, remove, signal);
  const kept = isGone.reduce((left, gone) => left - gone, isGone.length);
  requireHoldout(holdout, splitOf.hasRecall, kept);
  async function* rows(): AsyncGenerator<{ item: DatasetItem; tokens: number }> {
    let row = -1;
    for await (const sample of shelf.all()) {
      row += 1;
      if (isGone[row]) continue;
      const split = splitOf.heldOut(row) ?? (sample.objective === "preference" ? "preference" : "train");
      yield { item: { sample, split, group: groupKeyOf(sample.response) }, tokens: tokens[row]! };
    }
  }
  return { received: shelved.received, kept, removals, rows };
}

/** An order of their own, most important first, so that the input's order decides nothing; of repeated samples the first one stays. */
export function orderKeyOf(candidate: Candidate | Unusable): string {
  if (isUnusable(candidate)) return `0|${candidate.sampleId}|${candidate.reason}`;
  const { sample } = candidate;
  const texts = hashOf(sample.objective, sample.prompt, sample.response);
  return `1|${9 - sample.importance}|${texts}|${sample.id}|${hashOf(JSON.stringify(sample))}`;
}

function parseOptions(options: PrepareOptions): z.output<typeof CheckedOptions> {
  const parsed = CheckedOptions.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  throw new ValidationError(
    "input_invalid",
    `The preparation options are invalid${field === "" ? "" : ` at ${field}`}: ${issue?.message}.`,
    {
      details: { field },
    },
  );
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

/** Puts what passes the checks, and repeats neither an id nor a text, on the shelf. */
async function shelve(
  candidates: AsyncIterable<Candidate | Unusable> | Iterable<Candidate | Unusable>,
  settings: ReturnType<typeof parseOptions>,
  { quality, shelf, removals }: PreparationParts & { shelf: SampleShelf; removals: Removals },
  signal?: AbortSignal,
): Promise<{ received: number; count: number; near: NearCandidates | null }> {
  const ids = new HashNumbers();
  const pairs = new HashNumbers();
  const near = settings.removeDuplicates ? new NearCandidates() : null;
  let [received, count] = [0, 0];
  for await (const candidate of candidates) {
    if (signal?.aborted) throw new AbortedError();
    received += 1;
    if (isUnusable(candidate)) {
      removals.add(candidate.sampleId, candidate.reason);
      continue;
    }
    const { sample, reason } = await scored(candidate, settings.minQualityScore, quality, signal);
    const known = ids.size;
    if (reason) removals.add(sample.id, reason);
    else if (ids.numberOf(hashOf(sample.id)) < known) removals.add(sample.id, "duplicate_id: another sample has the same id");
    else {
      // Only what is shelved has a number here, so that the number is the row.
      const first = near ? pairs.numberOf(hashOf(sample.objective, exactKeyOf(sample))) : count;
      if (first < count) {
        removals.add(sample.id, `exact_duplicate: repeats ${(await shelf.at(first)).id}`);
        continue;
      }
      near?.add(bandHashes(sample));
      await shelf.add(sample);
      count += 1;
    }
  }
  return { received, count, near };
}

function bandHashes(sample: Sample): Uint32Array {
  const pair = comparablePair(sample);
  const salt = Number.parseInt(hashOf(sample.objective, decisiveKeyOf(pair)).slice(0, 8), 16);
  return bandHashesOf(signatureOf(pair.prompt.shingles), salt);
}

/** Row by row, so that a sample is compared only with those that stay. */
async function removeNear(
  near: NearCandidates,
  shelf: SampleShelf,
  remove: (row: number, sampleId: string, reason: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  near.seal();
  for (let row = 0; row < near.rows; row += 1) {
    const candidates = near.of(row);
    let best: { id: string; similarity: number } | null = null;
    if (candidates.size > 0) {
      const sample = await shelf.at(row);
      const pair = comparablePair(sample);
      for (const candidate of candidates) {
        if (signal?.aborted) throw new AbortedError();
        const other = await shelf.at(candidate);
        const similarity = other.objective === sample.objective ? similarityOf(pair, comparablePair(other)) : 0;
        if (similarity > (best?.similarity ?? 0) || (best && similarity === best.similarity && other.id < best.id))
          best = { id: other.id, similarity };
      }
      if (best) remove(row, sample.id, `near_duplicate: repeats ${best.id}`);
    }
    if (!best) near.keep(row);
  }
}

/** The tokens of each row; those with too many are removed. */
async function removeLong(
  maxLength: number,
  { shelf, tokenizer }: PreparationParts & { shelf: SampleShelf },
  isGone: Uint8Array,
  remove: (row: number, sampleId: string, reason: string) => void,
  signal?: AbortSignal,
): Promise<Uint32Array> {
  const tokens = new Uint32Array(isGone.length);
  let row = 0;
  for await (const batch of inGroups(shelf.all(), { rows: BATCH, size: 8 * 1024 * 1024, sizeOf: textLengthOf })) {
    if (signal?.aborted) throw new AbortedError();
    const texts = batch.map((sample) => `${sample.prompt}\n${sample.response}`);
    const counts = tokenizer ? await tokenizer.count(texts) : texts.map(estimateTokens);
    for (const [index, sample] of batch.entries()) {
      const count = counts[index] ?? estimateTokens(texts[index]!);
      tokens[row] = count;
      if (!isGone[row] && count > maxLength)
        remove(row, sample.id, `too_long: ${tokenizer ? "" : "about "}${count} tokens; at most ${maxLength}`);
      row += 1;
    }
  }
  return tokens;
}

function textLengthOf({ prompt, response }: Sample): number {
  return prompt.length + response.length;
}

/** Draws what is held out; thumbs on a question that is held out are removed. */
async function splitRows(
  shelf: SampleShelf,
  isGone: Uint8Array,
  holdout: HoldoutOptions,
  remove: (row: number, sampleId: string, reason: string) => void,
  signal?: AbortSignal,
): Promise<{ heldOut(row: number): SplitName | undefined; hasRecall: boolean }> {
  const clusters = new PromptClusters();
  const keys = new HashNumbers();
  const generic = new Set<number>();
  const facts = new Numbers(Uint32Array);
  const questions = new Numbers(Uint32Array);
  const firstRows = new Numbers(Uint32Array);
  const questionOf = new Uint32Array(isGone.length);
  const isRated = new Uint8Array(isGone.length);
  let row = -1;
  for await (const sample of shelf.all()) {
    if (signal?.aborted) throw new AbortedError();
    row += 1;
    if (isGone[row]) continue;
    const question = clusters.add(sample.prompt);
    if (question === firstRows.length) firstRows.push(row);
    questionOf[row] = question;
    if (sample.objective === "preference") isRated[row] = 1;
    else {
      const fact = keys.numberOf(groupKeyOf(sample.response));
      if (isGenericAnswer(sample.response)) generic.add(fact);
      facts.push(fact);
      questions.push(question);
    }
  }
  await clusters.join(async (question) => (await shelf.at(firstRows.at(question))).prompt, signal);
  const clusterOf = (row: number): number => clusters.clusterOf(questionOf[row]!);
  const rated = new Set<number>();
  for (const [row, isOne] of isRated.entries()) if (isOne) rated.add(clusterOf(row));
  for (let index = 0; index < questions.length; index += 1) questions.set(index, clusters.clusterOf(questions.at(index)));
  const input = {
    facts,
    clusters: questions,
    rated,
    factCount: keys.size,
    keyOf: (fact: number) => keys.hashOf(fact),
    isGeneric: (fact: number) => generic.has(fact),
    nameOf: (cluster: number) => clusters.nameOf(cluster),
  };
  const heldOut = drawHeldOut(input, holdout);
  for (const [row, isOne] of isRated.entries()) {
    const split = isOne ? heldOut.get(clusterOf(row)) : undefined;
    if (split) remove(row, (await shelf.at(row)).id, `held_out_question: its question is held out for ${split}`);
  }
  return { heldOut: (row) => heldOut.get(clusterOf(row)), hasRecall: [...heldOut.values()].includes("recall") };
}

function requireHoldout(holdout: HoldoutOptions, hasRecall: boolean, samples: number): void {
  if (!holdout.required || hasRecall) return;
  throw new ValidationError(
    "dataset_too_small",
    `Of ${samples} samples no phrasing can be held out: a fact needs at least three phrasings, or three facts two each. Add samples, or leave holdout.required out.`,
    { details: { samples } },
  );
}
