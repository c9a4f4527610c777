import { type ContentWord, contentWordsOf } from "../embedders/index.js";

interface Entry<Item> {
  item: Item;
  weights: ReadonlyMap<string, number>;
  numbers: string;
}

/** Below it two questions are about different things. */
const MIN_SIMILARITY = 0.75;
/** What sums of weights may be off by. */
const ROUNDING = 1e-9;

/**
 * Finds questions that ask the same: what they are about (content words of both, rare ones count more) must be nearly the same, and their
 * numbers exactly. So "which key opens the chapel" is not "which key opens the workshop", however alike the sentences are.
 */
export class QuestionIndex<Item extends { prompt: string }> {
  readonly #entries: Entry<Item>[] = [];
  /** Entries by stem, in their order. */
  readonly #byStem = new Map<string, number[]>();

  constructor(items: Iterable<Item>) {
    for (const item of items) {
      const words = contentWordsOf(item.prompt);
      for (const { stem } of words) {
        const holders = this.#byStem.get(stem) ?? [];
        holders.push(this.#entries.length);
        this.#byStem.set(stem, holders);
      }
      this.#entries.push({ item, weights: weightsOf(words), numbers: numbersOf(words) });
    }
  }

  get size(): number {
    return this.#entries.length;
  }

  /** Those that are accepted and ask the same, the most similar first; `similarity` is 0.75..1. */
  find(question: string, accepts: (item: Item) => boolean = () => true): { item: Item; similarity: number }[] {
    if (this.#entries.length === 0) return [];
    const words = contentWordsOf(question);
    const weights = weightsOf(words);
    const numbers = numbersOf(words);
    const total = this.#total(weights);
    const found: { item: Item; similarity: number }[] = [];
    for (const index of this.#candidates(weights, total)) {
      const entry = this.#entries[index]!;
      if (entry.numbers !== numbers || !accepts(entry.item)) continue;
      const similarity = this.#common(weights, entry.weights) / (Math.max(total, this.#total(entry.weights)) || 1);
      if (similarity >= MIN_SIMILARITY) found.push({ item: entry.item, similarity });
    }
    return found.sort((left, right) => right.similarity - left.similarity);
  }

  /**
   * Entries that may reach the threshold: they hold one of the heaviest words, without which too little weight is left (prefix filter:
   * Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", 2007).
   */
  #candidates(weights: ReadonlyMap<string, number>, total: number): number[] {
    const heaviest = [...weights].map(([stem, weight]) => ({ stem, weight: weight * this.#rarity(stem) }));
    heaviest.sort((left, right) => right.weight - left.weight);
    const found = new Set<number>();
    let left = total;
    for (const { stem, weight } of heaviest) {
      if (left < MIN_SIMILARITY * total - ROUNDING) break;
      for (const index of this.#byStem.get(stem) ?? []) found.add(index);
      left -= weight;
    }
    return [...found].sort((left, right) => left - right);
  }

  #common(left: ReadonlyMap<string, number>, right: ReadonlyMap<string, number>): number {
    let common = 0;
    for (const [stem, weight] of left) if (right.has(stem)) common += weight * this.#rarity(stem);
    return common;
  }

  #total(weights: ReadonlyMap<string, number>): number {
    let total = 0;
    for (const [stem, weight] of weights) total += weight * this.#rarity(stem);
    return total;
  }

  /** Inverse document frequency (Spärck Jones 1972) over the questions. */
  #rarity(stem: string): number {
    return Math.log(1 + (this.#entries.length + 1) / ((this.#byStem.get(stem)?.length ?? 0) + 1));
  }
}

function weightsOf(words: readonly ContentWord[]): Map<string, number> {
  return new Map(words.map(({ stem, weight }) => [stem, weight]));
}

function numbersOf(words: readonly ContentWord[]): string {
  return words
    .map(({ stem }) => stem)
    .filter((stem) => /\p{N}/u.test(stem))
    .sort()
    .join(" ");
}
