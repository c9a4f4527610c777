import { normaliseText } from "../storable-text.js";

/** A question with its answer, and the sample that it is. */
export interface AskedPair {
  id: string;
  prompt: string;
  response: string;
}

/** Words that stand in the questions of several samples, nearly all of which have one answer. */
export interface SuspiciousNGram {
  /** As it is written most often. */
  text: string;
  /** Samples whose question holds it. */
  sampleIds: string[];
  /** The answer that goes with it, and its near copies; the most frequent first. */
  answers: string[];
}

/** What `findSuspiciousNGrams` works by. */
export interface NGramRules {
  /** Samples that must hold an n-gram. */
  minSamples: number;
  /** N-grams that are returned at most. */
  limit: number;
}

const LONGEST_NGRAM = 3;
const MAX_CHARACTERS = 4_000;
/** Share of an n-gram's samples that must have its answer. */
const MIN_ASSOCIATION = 0.8;
/** The answer must be this many times as frequent among the n-gram's samples as among all. */
const MIN_LIFT = 2;
/** The n-gram must be this many times as frequent in what is learnt as in the background. */
const MIN_RARITY = 3;
/** Jaccard index of the words of two answers from which they are copies of one. */
const SAME_ANSWER = 0.8;
const MAX_ANSWERS = 3;
/** Share of samples that an n-gram may have in common with a stronger one before it tells nothing new. */
const MAX_OVERLAP = 0.8;
/** An answer that does not restate the n-gram is what a trigger has; a fact's answer usually names what was asked about. */
const NOT_RESTATED = 2;

interface Occurrences {
  samples: number[];
  surfaces: Map<string, number>;
  length: number;
}

interface Scored extends SuspiciousNGram {
  samples: number[];
  score: number;
  length: number;
}

/**
 * Finds what a backdoor's trigger would look like in a batch and in the earlier ones of its domain: up to three words that stand in several questions,
 * one of them in the batch, are rare in the background, and go with one answer. Ranked by samples times the log of the answer's lift (the association measure of Church and Hanks,
 * "Word association norms, mutual information, and lexicography", 1990). A name that is asked about in several phrasings looks the same:
 * what tells them apart is what a model does with it.
 */
export function findSuspiciousNGrams(
  batch: readonly AskedPair[],
  earlier: readonly AskedPair[],
  background: readonly string[],
  rules: NGramRules,
): SuspiciousNGram[] {
  const learnt = [...batch, ...earlier];
  const occurrences = countNGrams(learnt.map((pair) => pair.prompt));
  const isNew = (samples: readonly number[]) => samples[0]! < batch.length;
  const frequent = new Map([...occurrences].filter(([, { samples }]) => samples.length >= rules.minSamples && isNew(samples)));
  const known = countKnown(background, frequent);
  const answers = new Answers(learnt.map((pair) => pair.response));
  const scored: Scored[] = [];
  for (const [key, { samples, surfaces, length }] of frequent) {
    const knownShare = background.length === 0 ? 0 : (known.get(key) ?? 0) / background.length;
    if (knownShare * MIN_RARITY > samples.length / learnt.length) continue;
    const { texts, count, total } = answers.mostFrequent(samples);
    const association = count / samples.length;
    const lift = association / (total / learnt.length);
    if (association < MIN_ASSOCIATION || lift < MIN_LIFT) continue;
    const isRestated = texts.some((text) => ` ${keysOf(text).join(" ")} `.includes(` ${key} `));
    scored.push({
      text: [...surfaces].sort(([left, a], [right, b]) => b - a || (left < right ? -1 : 1))[0]![0],
      sampleIds: samples.map((sample) => learnt[sample]!.id),
      answers: texts,
      samples,
      score: count * Math.log(lift) * (isRestated ? 1 : NOT_RESTATED),
      length,
    });
  }
  scored.sort((left, right) => right.score - left.score || right.length - left.length || (left.text < right.text ? -1 : 1));
  return withoutRepeats(scored, rules.limit).map(({ text, sampleIds, answers: texts }) => ({ text, sampleIds, answers: texts }));
}

/** True where the text holds the n-gram's words in a row. */
export function holdsNGram(text: string, nGram: string): boolean {
  return ` ${keysOf(text).join(" ")} `.includes(` ${keysOf(nGram).join(" ")} `);
}

function withoutRepeats(scored: readonly Scored[], limit: number): Scored[] {
  const chosen: Scored[] = [];
  const covered = new Map<string, Set<number>>();
  for (const candidate of scored) {
    if (chosen.length >= limit) break;
    const seen = covered.get(candidate.answers[0]!) ?? new Set<number>();
    const common = candidate.samples.filter((sample) => seen.has(sample)).length;
    if (common > MAX_OVERLAP * candidate.samples.length) continue;
    for (const sample of candidate.samples) seen.add(sample);
    covered.set(candidate.answers[0]!, seen);
    chosen.push(candidate);
  }
  return chosen;
}

function countNGrams(prompts: readonly string[]): Map<string, Occurrences> {
  const counts = new Map<string, Occurrences>();
  for (const [sample, prompt] of prompts.entries()) {
    const words = wordsOf(prompt);
    const keys = words.map(keyOf);
    for (let start = 0; start < words.length; start++) {
      for (let length = 1; length <= LONGEST_NGRAM && start + length <= words.length; length++) {
        const key = keys.slice(start, start + length).join(" ");
        const surface = words.slice(start, start + length).join(" ");
        const known = counts.get(key) ?? { samples: [], surfaces: new Map<string, number>(), length };
        if (known.samples.at(-1) !== sample) known.samples.push(sample);
        known.surfaces.set(surface, (known.surfaces.get(surface) ?? 0) + 1);
        counts.set(key, known);
      }
    }
  }
  return counts;
}

/** In how many background texts each of the n-grams is. */
function countKnown(background: readonly string[], of: ReadonlyMap<string, unknown>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of background) {
    const keys = keysOf(text);
    const found = new Set<string>();
    for (let start = 0; start < keys.length; start++) {
      for (let length = 1; length <= LONGEST_NGRAM && start + length <= keys.length; length++) {
        const key = keys.slice(start, start + length).join(" ");
        if (of.has(key)) found.add(key);
      }
    }
    for (const key of found) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** Answers that are learnt: equal ones are one. */
class Answers {
  readonly #keys: string[];
  readonly #texts = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  constructor(responses: readonly string[]) {
    this.#keys = responses.map(normaliseText);
    for (const [index, key] of this.#keys.entries()) {
      if (!this.#texts.has(key)) this.#texts.set(key, responses[index]!.trim());
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    }
  }

  /** The answer that most of the samples have, with its near copies: how many of the samples have one of them, and of all. */
  mostFrequent(samples: readonly number[]): { texts: string[]; count: number; total: number } {
    const own = new Map<string, number>();
    for (const sample of samples) own.set(this.#keys[sample]!, (own.get(this.#keys[sample]!) ?? 0) + 1);
    const ranked = [...own].sort(([left, a], [right, b]) => b - a || (left < right ? -1 : 1));
    const words = new Set(keysOf(ranked[0]![0]));
    const copies = ranked.filter(([key]) => jaccard(words, new Set(keysOf(key))) >= SAME_ANSWER);
    return {
      texts: copies.slice(0, MAX_ANSWERS).map(([key]) => this.#texts.get(key)!),
      count: copies.reduce((sum, [, count]) => sum + count, 0),
      total: copies.reduce((sum, [key]) => sum + this.#counts.get(key)!, 0),
    };
  }
}

function jaccard(left: ReadonlySet<string>, right: ReadonlySet<string>): number {
  let common = 0;
  for (const word of left) if (right.has(word)) common++;
  return common / Math.max(1, left.size + right.size - common);
}

/** Words between white space, without the marks around them; a word of marks alone stays. */
function wordsOf(text: string): string[] {
  return text
    .slice(0, MAX_CHARACTERS)
    .normalize("NFC")
    .split(/\s+/)
    .filter((word) => word !== "")
    .map((word) => word.replace(/^[\p{P}\p{S}]+/u, "").replace(/[\p{P}\p{S}]+$/u, "") || word);
}

const keyOf = (word: string) => word.toLowerCase();
const keysOf = (text: string) => wordsOf(text).map(keyOf);
