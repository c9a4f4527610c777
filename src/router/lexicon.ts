import type { ContentWord } from "../embedders/index.js";
import type { AdapterProfile } from "./adapter-profile.js";
import { gramsOf, type KeyCounts } from "./vocabulary.js";

/** How each adapter's vocabulary meets a query; the index is the adapter's. */
export interface LexicalMatch {
  /** 0..1: weighted share of the query's content words that the adapter's examples hold. */
  coverage: Float32Array;
  /** 0..1: the same, each word shared out among the adapters that hold it, so that words of many domains decide little. */
  specificity: Float32Array;
}

/** An example whose own words must not count, since it is the query (leave-one-out). */
export interface HeldOutExample {
  adapter: number;
  example: number;
}

interface Posting {
  adapters: number[];
  /** Number of the adapter's examples that hold the word. */
  counts: number[];
}

/** Share of an unknown word's grams that must be known before it counts as a form or a compound of known words. */
const MIN_GRAM_SHARE = 0.5;
/** A word seen once may be chance: it counts 1 / (1 + this), twice 2 / (2 + this). */
const RARITY = 0.5;

/** An adapter's examples, as the indices read them. */
export type AdapterWords = Pick<AdapterProfile, "questions" | "vocabulary">;

/** The content words of all adapters' examples, as an inverted index: a query costs what its own words cost. */
export class Lexicon {
  readonly #words = new Map<string, Posting>();
  readonly #grams = new Map<string, Posting>();
  readonly #adapters: readonly AdapterWords[];
  /** Of each adapter the number of questions. */
  readonly #sizes: Int32Array;
  readonly #match: LexicalMatch;

  constructor(adapters: readonly AdapterWords[]) {
    this.#adapters = adapters;
    this.#sizes = Int32Array.from(adapters, ({ questions }) => questions.length);
    for (const [adapter, { vocabulary }] of adapters.entries()) {
      index(this.#words, vocabulary.stems, adapter);
      index(this.#grams, vocabulary.grams, adapter);
    }
    this.#match = { coverage: new Float32Array(adapters.length), specificity: new Float32Array(adapters.length) };
  }

  /** The next call overwrites the answer's arrays. */
  match(words: readonly ContentWord[], heldOut?: HeldOutExample): LexicalMatch {
    const { coverage, specificity } = this.#match;
    coverage.fill(0);
    specificity.fill(0);
    const heldStems = heldOut && new Set(this.#adapters[heldOut.adapter]!.questions[heldOut.example]!.words.map(({ stem }) => stem));
    const heldGrams = heldStems && new Set([...heldStems].flatMap(gramsOf));
    let total = 0;
    for (const { stem, weight } of words) {
      total += weight;
      const isKnown = this.#addWord(stem, weight, heldStems?.has(stem) ? heldOut!.adapter : -1);
      if (!isKnown) this.#addUnknownWord(stem, weight, heldOut?.adapter ?? -1, heldGrams);
    }
    if (total === 0) return this.#match;
    divide(coverage, total);
    divide(specificity, total);
    return this.#match;
  }

  #addWord(stem: string, weight: number, heldAdapter: number): boolean {
    const posting = this.#words.get(stem);
    if (posting === undefined) return false;
    let rates = 0;
    for (let index = 0; index < posting.adapters.length; index++) rates += this.#rate(posting, index, heldAdapter);
    if (rates === 0) return false;
    for (let index = 0; index < posting.adapters.length; index++) {
      const adapter = posting.adapters[index]!;
      const found = posting.counts[index]! - (adapter === heldAdapter ? 1 : 0);
      if (found === 0) continue;
      const value = weight * (found / (found + RARITY));
      this.#match.coverage[adapter]! += value;
      this.#match.specificity[adapter]! += (value * this.#rate(posting, index, heldAdapter)) / rates;
    }
    return true;
  }

  #rate(posting: Posting, index: number, heldAdapter: number): number {
    const adapter = posting.adapters[index]!;
    return (posting.counts[index]! - (adapter === heldAdapter ? 1 : 0)) / this.#sizes[adapter]!;
  }

  /** Forms and compounds: what share of the word's 4-grams does the adapter know? */
  #addUnknownWord(stem: string, weight: number, heldAdapter: number, heldGrams: Set<string> | undefined): void {
    const grams = gramsOf(stem);
    const known = new Map<number, number>();
    for (const gram of grams) {
      const posting = this.#grams.get(gram);
      if (posting === undefined) continue;
      for (let index = 0; index < posting.adapters.length; index++) {
        const adapter = posting.adapters[index]!;
        if (adapter === heldAdapter && posting.counts[index] === 1 && heldGrams!.has(gram)) continue;
        known.set(adapter, (known.get(adapter) ?? 0) + 1 / grams.length);
      }
    }
    let shares = 0;
    for (const share of known.values()) if (share >= MIN_GRAM_SHARE) shares += share;
    for (const [adapter, share] of known) {
      if (share < MIN_GRAM_SHARE) continue;
      this.#match.coverage[adapter]! += weight * share * share;
      this.#match.specificity[adapter]! += (weight * share * share * share) / shares;
    }
  }
}

/** A function of its own, since V8 leaves and re-enters the optimised code of a long loop in the middle of `match` again and again. */
function divide(values: Float32Array, divisor: number): void {
  for (let index = 0; index < values.length; index++) values[index]! /= divisor;
}

function index(postings: Map<string, Posting>, { keys, counts }: KeyCounts, adapter: number): void {
  for (let position = 0; position < keys.length; position++) {
    const posting = postings.get(keys[position]!);
    if (posting === undefined) postings.set(keys[position]!, { adapters: [adapter], counts: [counts[position]!] });
    else {
      posting.adapters.push(adapter);
      posting.counts.push(counts[position]!);
    }
  }
}
