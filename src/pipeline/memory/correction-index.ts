import { type ContentWord, contentWordsOf } from "../../embedders/index.js";
import type { RecalledCorrection } from "../../types/memory.js";
import { normaliseText } from "../storable-text.js";

/** An accepted correction that no adapter knows yet. */
export interface Correction {
  feedbackId: string;
  domain: string;
  /** Only requests of the same tenant get it; null: only requests without one. */
  tenant: string | null;
  prompt: string;
  answer: string;
}

/** Whom a correction is looked for. */
export interface RecallScope {
  /** Absent: of any domain. */
  domain: string | undefined;
  tenant: string | null;
}

interface Entry {
  correction: Correction;
  weights: ReadonlyMap<string, number>;
  numbers: string;
}

/** Below it two questions are about different things. */
const MIN_SIMILARITY = 0.75;
const MAX_RECALLED = 3;
/** How much less like the question than the best one another may be: further off, it is about something else. */
const MAX_BEHIND_BEST = 0.1;

/**
 * Finds corrections of questions that ask the same: what they are about (content words of both, rare ones count more) must be nearly
 * the same, and their numbers exactly. So "which key opens the chapel" answers nothing about the workshop's key, however alike the
 * sentences are.
 */
export class CorrectionIndex {
  readonly #entries: readonly Entry[];
  readonly #frequencies = new Map<string, number>();

  /** Newest first: of corrections of one question the newest counts. */
  constructor(corrections: readonly Correction[]) {
    const seen = new Set<string>();
    const entries: Entry[] = [];
    for (const correction of corrections) {
      const key = JSON.stringify([correction.domain, correction.tenant, normaliseText(correction.prompt)]);
      if (seen.has(key)) continue;
      seen.add(key);
      const words = contentWordsOf(correction.prompt);
      for (const { stem } of words) this.#frequencies.set(stem, (this.#frequencies.get(stem) ?? 0) + 1);
      entries.push({ correction, weights: weightsOf(words), numbers: numbersOf(words) });
    }
    this.#entries = entries;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** The most similar first; none that is below the threshold. */
  find(question: string, { domain, tenant }: RecallScope): RecalledCorrection[] {
    const words = contentWordsOf(question);
    const weights = weightsOf(words);
    const numbers = numbersOf(words);
    const found: RecalledCorrection[] = [];
    for (const entry of this.#entries) {
      const { correction } = entry;
      if (correction.tenant !== tenant || (domain !== undefined && correction.domain !== domain) || entry.numbers !== numbers) continue;
      const similarity = this.#similarity(weights, entry.weights);
      if (similarity < MIN_SIMILARITY) continue;
      const { feedbackId, prompt, answer } = correction;
      found.push({ feedbackId, domain: correction.domain, prompt, answer, similarity });
    }
    return distinct(found.sort((left, right) => right.similarity - left.similarity)).slice(0, MAX_RECALLED);
  }

  /** Weight in common, of the larger weight of the two; weights by inverse document frequency (Spärck Jones 1972) over the corrections. */
  #similarity(left: ReadonlyMap<string, number>, right: ReadonlyMap<string, number>): number {
    let common = 0;
    for (const [stem, weight] of left) if (right.has(stem)) common += weight * this.#rarity(stem);
    const larger = Math.max(this.#total(left), this.#total(right));
    return larger === 0 ? 0 : common / larger;
  }

  #total(weights: ReadonlyMap<string, number>): number {
    let total = 0;
    for (const [stem, weight] of weights) total += weight * this.#rarity(stem);
    return total;
  }

  #rarity(stem: string): number {
    return Math.log(1 + (this.#entries.length + 1) / ((this.#frequencies.get(stem) ?? 0) + 1));
  }
}

/** Of those that say the same only the most similar; more text would only lead the model astray. */
function distinct(found: readonly RecalledCorrection[]): RecalledCorrection[] {
  const answers = new Set<string>();
  return found.filter(({ answer, similarity }) => {
    const key = normaliseText(answer);
    if (answers.has(key) || similarity < found[0]!.similarity - MAX_BEHIND_BEST) return false;
    answers.add(key);
    return true;
  });
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
