import { hashOf } from "../support/hash-of.js";
import type { QuestionAnswer } from "./duplicate-index.js";
import { haveSameProtectedTokens, type ProtectedTokens, protectedTokensOf } from "./protected-tokens.js";
import { jaccard, shinglesOf } from "./shingles.js";
import { normaliseText } from "./text-normalisation.js";

/** Least Jaccard index of question and of answer from which two pairs are near duplicates. */
export const NEAR_THRESHOLD = 0.95;

/** A question and its answer, ready to be compared. */
export interface ComparablePair {
  readonly prompt: ComparableText;
  readonly response: ComparableText;
}

interface ComparableText {
  readonly normalised: string;
  readonly shingles: ReadonlySet<number>;
  readonly tokens: ProtectedTokens;
}

export function comparablePair({ prompt, response }: QuestionAnswer): ComparablePair {
  return { prompt: comparable(prompt), response: comparable(response) };
}

/** The smaller Jaccard index of question and answer where both reach the threshold and the protected tokens are the same, else 0. */
export function similarityOf(left: ComparablePair, right: ComparablePair, threshold: number = NEAR_THRESHOLD): number {
  const similarity = Math.min(
    ...(["prompt", "response"] as const).map((field) => {
      const [a, b] = [left[field], right[field]];
      if (a.normalised === b.normalised) return 1;
      // The sizes alone bound the index from above, which spares most comparisons.
      const bound = Math.min(a.shingles.size, b.shingles.size) / Math.max(a.shingles.size, b.shingles.size);
      if (bound < threshold || !haveSameProtectedTokens(a.tokens, b.tokens)) return 0;
      return jaccard(a.shingles, b.shingles);
    }),
  );
  return similarity >= threshold ? similarity : 0;
}

/** Equal for pairs that are equal after normalisation. */
export function exactKeyOf(pair: QuestionAnswer): string {
  return hashOf(normaliseText(pair.prompt), normaliseText(pair.response));
}

/** Numbers and negations must agree, so they are part of the key of a bucket: templates that differ in a number never meet. */
export function decisiveKeyOf({ prompt, response }: ComparablePair): string {
  return hashOf(prompt.tokens.decisive, response.tokens.decisive).slice(0, 16);
}

function comparable(text: string): ComparableText {
  const normalised = normaliseText(text);
  return { normalised, shingles: shinglesOf(normalised), tokens: protectedTokensOf(text) };
}
