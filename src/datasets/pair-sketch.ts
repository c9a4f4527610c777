import { hashOf } from "../support/hash-of.js";
import type { PairSketch } from "../types/feedback.js";
import type { QuestionAnswer } from "./duplicate-index.js";
import { protectedTokensOf } from "./protected-tokens.js";
import { bandsOf, hash32, shinglesOf, signatureOf } from "./shingles.js";
import { normaliseText } from "./text-normalisation.js";

/** Share of equal bands from which two pairs are alike; at a Jaccard index j of their shingles a share of j⁴ is equal. */
const MIN_EQUAL_BANDS = 0.25;
/** Share of names in common, of all that either has: templates that are filled in differently say different things. */
const MIN_COMMON_NAMES = 0.8;

/** The sketch of a pair. */
export function sketchOf({ prompt, response }: QuestionAnswer): PairSketch {
  const tokens = [prompt, response].map(protectedTokensOf);
  const names = new Set(tokens.flatMap((of) => [...of.names]));
  const signature = signatureOf(shinglesOf(`${normaliseText(prompt)}\n${normaliseText(response)}`));
  return {
    key: hashOf(...tokens.map(({ decisive }) => withoutSigns(decisive))).slice(0, 12),
    names: [...names].map((name) => hash32(name)),
    bands: bandsOf(signature),
  };
}

/**
 * True where two pairs say nearly the same in nearly the same words: equal numbers and negations, most names in common, and a Jaccard
 * index of about .7 or more (MinHash bands: Leskovec et al., "Mining of Massive Datasets", 3.4).
 */
export function areAlike(left: PairSketch, right: PairSketch): boolean {
  if (left.key !== right.key) return false;
  const equal = left.bands.filter((band, index) => band === right.bands[index]).length;
  if (equal < MIN_EQUAL_BANDS * left.bands.length) return false;
  const others = new Set(right.names);
  const common = left.names.filter((name) => others.has(name)).length;
  return common >= MIN_COMMON_NAMES * (left.names.length + right.names.length - common);
}

/** A comma more must not make another cluster. */
function withoutSigns(decisive: string): string {
  return decisive
    .split(" ")
    .filter((token) => /[\p{L}\p{N}]/u.test(token))
    .join(" ");
}
