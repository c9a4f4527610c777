import { hashOf } from "../support/hash-of.js";
import { haveSameProtectedTokens, type ProtectedTokens, protectedTokensOf } from "./protected-tokens.js";
import { bandsOf, jaccard, shinglesOf, signatureOf } from "./shingles.js";
import { normaliseText } from "./text-normalisation.js";

/** Question and answer; what duplicates are looked for in. */
export interface QuestionAnswer {
  readonly prompt: string;
  readonly response: string;
}

/** The entry that a sample repeats. */
export interface Duplicate {
  readonly id: string;
  readonly kind: "exact" | "near";
  /** 1 for exact ones, else the smaller Jaccard index of question and answer. */
  readonly similarity: number;
}

/** Options of a `DuplicateIndex`. */
export interface DuplicateIndexOptions {
  /** Least Jaccard index of question and of answer, each over character shingles, 0..1. Default .95. */
  nearThreshold?: number;
}

interface Entry {
  readonly id: string;
  readonly prompt: ComparableText;
  readonly response: ComparableText;
}

interface ComparableText {
  readonly normalised: string;
  readonly shingles: ReadonlySet<number>;
  readonly tokens: ProtectedTokens;
}

/**
 * Finds repeated question–answer pairs. Exact: equal after normalisation. Near: question *and* answer each have a Jaccard index of at
 * least .95 over character shingles (candidates by MinHash, then counted exactly) and the same numbers, negations and names. So another phrasing of a question is
 * no duplicate, and neither is a fact that differs in one number.
 * @example
 * ```ts
 * const index = new DuplicateIndex();
 * index.add("a", { prompt: "Wo ist das Büro?", response: "Im Hof." });
 * index.find({ prompt: "wo ist das büro", response: "im Hof" }); // { id: "a", kind: "exact", similarity: 1 }
 * ```
 */
export class DuplicateIndex {
  readonly #nearThreshold: number;
  readonly #exact = new Map<string, string>();
  readonly #buckets = new Map<string, Entry[]>();

  constructor(options: DuplicateIndexOptions = {}) {
    this.#nearThreshold = options.nearThreshold ?? 0.95;
  }

  /** Number of distinct normalised pairs. */
  get size(): number {
    return this.#exact.size;
  }

  /**
   * Remembers a pair under an id; the first of equal pairs stays.
   * @example
   * ```ts
   * index.add("a", { prompt: "Wo ist das Büro?", response: "Im Hof." });
   * ```
   */
  add(id: string, pair: QuestionAnswer): void {
    const key = exactKeyOf(pair);
    if (this.#exact.has(key)) return;
    this.#exact.set(key, id);
    const entry: Entry = { id, prompt: comparable(pair.prompt), response: comparable(pair.response) };
    for (const key of bucketKeysOf(entry)) {
      const bucket = this.#buckets.get(key);
      if (bucket) bucket.push(entry);
      else this.#buckets.set(key, [entry]);
    }
  }

  /**
   * The entry that the pair repeats, the most similar one first; null where there is none.
   * @example
   * ```ts
   * const repeated = index.find({ prompt: "Wo ist das Büro?", response: "Im Hof." })?.id;
   * ```
   */
  find(pair: QuestionAnswer): Duplicate | null {
    const exact = this.#exact.get(exactKeyOf(pair));
    return exact === undefined ? (this.findNear(pair)[0] ?? null) : { id: exact, kind: "exact", similarity: 1 };
  }

  /**
   * Every near duplicate, the most similar first, then by id.
   * @example
   * ```ts
   * const similarities = index.findNear({ prompt: "Wo ist das Büro?", response: "Im Hof." }).map(({ similarity }) => similarity);
   * ```
   */
  findNear(pair: QuestionAnswer): Duplicate[] {
    const entry: Entry = { id: "", prompt: comparable(pair.prompt), response: comparable(pair.response) };
    const found = new Map<string, Duplicate>();
    const seen = new Set<Entry>();
    for (const key of bucketKeysOf(entry)) {
      for (const other of this.#buckets.get(key) ?? []) {
        if (seen.has(other)) continue;
        seen.add(other);
        const similarity = this.#similarityOf(entry, other);
        if (similarity >= this.#nearThreshold) found.set(other.id, { id: other.id, kind: "near", similarity });
      }
    }
    return [...found.values()].sort((left, right) => right.similarity - left.similarity || (left.id < right.id ? -1 : 1));
  }

  #similarityOf(left: Entry, right: Entry): number {
    return Math.min(
      ...(["prompt", "response"] as const).map((field) => {
        const [a, b] = [left[field], right[field]];
        if (a.normalised === b.normalised) return 1;
        // The sizes alone bound the index from above, which spares most comparisons.
        const bound = Math.min(a.shingles.size, b.shingles.size) / Math.max(a.shingles.size, b.shingles.size);
        if (bound < this.#nearThreshold || !haveSameProtectedTokens(a.tokens, b.tokens)) return 0;
        return jaccard(a.shingles, b.shingles);
      }),
    );
  }
}

function comparable(text: string): ComparableText {
  const normalised = normaliseText(text);
  return { normalised, shingles: shinglesOf(normalised), tokens: protectedTokensOf(text) };
}

function exactKeyOf(pair: QuestionAnswer): string {
  return hashOf(normaliseText(pair.prompt), normaliseText(pair.response));
}

/** Numbers and negations must agree, so they are part of the key: templates that differ in a number never meet. */
function bucketKeysOf(entry: Entry): string[] {
  const decisive = hashOf(entry.prompt.tokens.decisive, entry.response.tokens.decisive).slice(0, 16);
  return bandsOf(signatureOf(entry.prompt.shingles)).map((band, place) => `${decisive}|${place}:${band}`);
}
