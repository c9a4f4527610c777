import { type ComparablePair, comparablePair, decisiveKeyOf, exactKeyOf, NEAR_THRESHOLD, similarityOf } from "./comparable-text.js";
import { bandsOf, signatureOf } from "./shingles.js";

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

interface Entry extends ComparablePair {
  readonly id: string;
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
    this.#nearThreshold = options.nearThreshold ?? NEAR_THRESHOLD;
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
    const entry: Entry = { id, ...comparablePair(pair) };
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
    const entry: Entry = { id: "", ...comparablePair(pair) };
    const found = new Map<string, Duplicate>();
    const seen = new Set<Entry>();
    for (const key of bucketKeysOf(entry)) {
      for (const other of this.#buckets.get(key) ?? []) {
        if (seen.has(other)) continue;
        seen.add(other);
        const similarity = similarityOf(entry, other, this.#nearThreshold);
        if (similarity > 0) found.set(other.id, { id: other.id, kind: "near", similarity });
      }
    }
    return [...found.values()].sort((left, right) => right.similarity - left.similarity || (left.id < right.id ? -1 : 1));
  }
}

function bucketKeysOf(entry: Entry): string[] {
  const decisive = decisiveKeyOf(entry);
  return bandsOf(signatureOf(entry.prompt.shingles)).map((band, place) => `${decisive}|${place}:${band}`);
}
