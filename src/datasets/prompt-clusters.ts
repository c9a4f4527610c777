import { AbortedError } from "../errors.js";
import { hashOf } from "../support/hash-of.js";
import { type ComparablePair, comparablePair, decisiveKeyOf, similarityOf } from "./comparable-text.js";
import { HashNumbers } from "./hash-numbers.js";
import { NearCandidates } from "./near-candidates.js";
import { bandHashesOf, signatureOf } from "./shingles.js";
import { differInSlips } from "./slips-of-the-pen.js";
import { normaliseText } from "./text-normalisation.js";

/**
 * Puts equal and nearly equal questions into one cluster (transitively), so that a split never separates them. First all questions are added, then `join`
 * finds which are nearly equal.
 */
export class PromptClusters {
  readonly #questions = new HashNumbers();
  readonly #candidates = new NearCandidates();
  #parents = new Uint32Array();

  /** Gives the number of the question; equal ones have the same. */
  add(prompt: string): number {
    const normalised = normaliseText(prompt);
    const known = this.#questions.size;
    const number = this.#questions.numberOf(hashOf("prompt", normalised));
    if (number === known) {
      const pair = asPair(normalised);
      this.#candidates.add(bandHashesOf(signatureOf(pair.prompt.shingles), Number.parseInt(decisiveKeyOf(pair).slice(0, 8), 16)));
    }
    return number;
  }

  /** Joins what is nearly equal; `textOf` gives a question by its number. */
  async join(textOf: (question: number) => Promise<string>, signal?: AbortSignal): Promise<void> {
    this.#candidates.seal();
    this.#parents = Uint32Array.from({ length: this.#questions.size }, (_, question) => question);
    for (let question = 0; question < this.#questions.size; question += 1) {
      const candidates = this.#candidates.of(question);
      this.#candidates.keep(question);
      if (candidates.size === 0) continue;
      const pair = asPair(normaliseText(await textOf(question)));
      for (const other of candidates) {
        if (signal?.aborted) throw new AbortedError();
        const [left, right] = [this.clusterOf(question), this.clusterOf(other)];
        // One comparison with a cluster is enough where it succeeds.
        if (left === right || !areNearlyEqual(pair, asPair(normaliseText(await textOf(other))))) continue;
        const [first, second] = this.nameOf(left) < this.nameOf(right) ? [left, right] : [right, left];
        this.#parents[second] = first;
      }
    }
  }

  /** The number of the question that stands for the cluster of a question. */
  clusterOf(question: number): number {
    let root = question;
    while (this.#parents[root] !== root) {
      this.#parents[root] = this.#parents[this.#parents[root]!]!;
      root = this.#parents[root]!;
    }
    return root;
  }

  /** Depends on the questions of the cluster alone, not on their order. */
  nameOf(cluster: number): string {
    return this.#questions.hashOf(cluster);
  }
}

/** A short question with a slip of the pen is less like the right one than the threshold of duplicates, which removes samples, asks for. */
function areNearlyEqual(left: ComparablePair, right: ComparablePair): boolean {
  return similarityOf(left, right) > 0 || differInSlips(left.prompt.normalised, right.prompt.normalised);
}

/** Compared without case: a question in capitals is full of names, which would keep it apart from the same question with a slip of the pen. */
function asPair(normalised: string) {
  return comparablePair({ prompt: normalised, response: "" });
}
