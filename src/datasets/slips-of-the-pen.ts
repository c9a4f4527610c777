import { DECISIVE_WORDS } from "../support/decisive-words.js";
import { editDistance } from "../support/nearest-word.js";

/** Of so many words one may be misspelt. */
const WORDS_A_SLIP = 4;
const MAX_SLIPS = 3;
/** In a shorter word one other letter makes another word (`boat` and `goat`) too often. */
const MIN_LENGTH = 5;
/** A word of so many letters may have two that are wrong. */
const LONG_WORD = 9;

/** True where two normalised texts are the same but for words with a slip of the pen, as no numbers and no decisive words are. */
export function differInSlips(left: string, right: string): boolean {
  const [words, others] = [left.split(" "), right.split(" ")];
  if (words.length !== others.length) return false;
  const most = Math.min(MAX_SLIPS, Math.floor(words.length / WORDS_A_SLIP));
  const differing = words.map((word, index): [string, string] => [word, others[index]!]).filter(([word, other]) => word !== other);
  return differing.length <= most && differing.every(([word, other]) => isSlip(word, other));
}

function isSlip(word: string, other: string): boolean {
  const shorter = Math.min(word.length, other.length);
  if (shorter < MIN_LENGTH || [word, other].some((one) => DECISIVE_WORDS.has(one) || !/^[\p{L}\p{M}]+$/u.test(one))) return false;
  return editDistance(word, other) <= (shorter >= LONG_WORD ? 2 : 1);
}
