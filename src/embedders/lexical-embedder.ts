import { AbortedError, ConfigurationError } from "../errors.js";
import type { CallOptions, Embedder } from "../types/common.js";
import { wordsOf } from "./fold-text.js";
import { FUNCTION_WORDS } from "./function-words.js";

/** Options of `LexicalEmbedder`. */
export interface LexicalEmbedderOptions {
  /** Length of the vectors. Default 512; 64 to 16,384. */
  dimensions?: number;
  /** Characters of a text that count; the rest is ignored. Default 32,768. */
  maxCharacters?: number;
}

/** Share of a function word against a content word: the topic decides, and a text of function words only still has a direction. */
const FUNCTION_WORD_WEIGHT = 0.25;
const SHORTEST_GRAM = 3;
const LONGEST_GRAM = 5;
/** Texts between two looks at the signal and the event loop. */
const SLICE = 256;

/**
 * Embeds texts by their spelling alone: signed feature hashing of words and of character 3–5-grams (Weinberger et al. 2009,
 * "Feature Hashing for Large Scale Multitask Learning"; subwords as in Bojanowski et al. 2017), sublinear term frequency,
 * L2 normalised. Needs no model and no network, and gives the same numbers everywhere; it knows no synonyms.
 * @example
 * ```ts
 * const [vector] = await new LexicalEmbedder().embed(["Welche Frist gilt für den Widerspruch?"]);
 * ```
 */
export class LexicalEmbedder implements Embedder {
  readonly name: string;
  readonly dimensions: number;
  readonly #maxCharacters: number;

  constructor(options: LexicalEmbedderOptions = {}) {
    this.dimensions = options.dimensions ?? 512;
    this.#maxCharacters = options.maxCharacters ?? 32_768;
    if (!Number.isInteger(this.dimensions) || this.dimensions < 64 || this.dimensions > 16_384) {
      throw new ConfigurationError("config_invalid", `dimensions must be a whole number from 64 to 16384, not ${this.dimensions}.`);
    }
    this.name = `lexical-v1-${this.dimensions}`;
  }

  /**
   * One unit vector a text, in order.
   * @example
   * ```ts
   * const vectors = await new LexicalEmbedder().embed(["Hello", "Guten Tag"]);
   * ```
   */
  async embed(texts: readonly string[], options: CallOptions = {}): Promise<number[][]> {
    const vectors: number[][] = [];
    for (const [index, text] of texts.entries()) {
      if (options.signal?.aborted) throw new AbortedError("Embedding was aborted.", { cause: options.signal.reason });
      if (index > 0 && index % SLICE === 0) await new Promise((resolve) => setImmediate(resolve));
      vectors.push(this.#embedText(text));
    }
    return vectors;
  }

  #embedText(text: string): number[] {
    const frequency = new Map<string, number>();
    for (const word of wordsOf(text.slice(0, this.#maxCharacters))) frequency.set(word, (frequency.get(word) ?? 0) + 1);
    const vector = new Array<number>(this.dimensions).fill(0);
    for (const [word, count] of frequency) {
      const isFunctionWord = FUNCTION_WORDS.has(word);
      const weight = (1 + Math.log(count)) * (isFunctionWord ? FUNCTION_WORD_WEIGHT : 1);
      this.#add(vector, hashRange(word, 0, word.length, WORD_SEED), weight);
      if (!isFunctionWord) this.#addGrams(vector, word, weight);
    }
    let squares = 0;
    for (const value of vector) squares += value * value;
    // A text without words (or whose features cancelled out) still needs a direction: cosine is undefined for zero.
    if (squares === 0) vector[hashRange("", 0, 0, WORD_SEED) % this.dimensions] = squares = 1;
    const scale = 1 / Math.sqrt(squares);
    return vector.map((value) => value * scale);
  }

  /** All n-grams of a word together weigh as much as the word itself, so that long words do not drown short ones. */
  #addGrams(vector: number[], word: string, weight: number): void {
    // Scripts without spaces have whole clauses as one "word", and meaning in one or two characters.
    const isDense = DENSE_SCRIPT.test(word);
    const bounded = isDense ? word : `<${word}>`;
    const shortest = isDense ? 1 : SHORTEST_GRAM;
    const longest = isDense ? 2 : LONGEST_GRAM;
    let grams = 0;
    for (let size = shortest; size <= longest; size++) grams += Math.max(0, bounded.length - size + 1);
    const share = weight / Math.sqrt(Math.max(1, grams));
    for (let size = shortest; size <= longest; size++) {
      for (let start = 0; start + size <= bounded.length; start++) {
        this.#add(vector, hashRange(bounded, start, start + size, GRAM_SEED), share);
      }
    }
  }

  #add(vector: number[], hash: number, weight: number): void {
    const index = hash % this.dimensions;
    // The highest bit is independent of the index for the power-of-two lengths that the modulo uses.
    vector[index] = vector[index]! + (hash >>> 31 === 1 ? weight : -weight);
  }
}

const DENSE_SCRIPT = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;
const WORD_SEED = 0x811c9dc5;
const GRAM_SEED = 0x01234567;

/** FNV-1a over the UTF-16 code units, finished as in MurmurHash3 so that all bits depend on all units. */
function hashRange(text: string, start: number, end: number, seed: number): number {
  let hash = seed;
  for (let index = start; index < end; index++) {
    hash ^= text.charCodeAt(index);
    hash = Math.imul(hash, 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  hash ^= hash >>> 16;
  return hash >>> 0;
}
