import { DECISIVE_WORDS } from "../support/decisive-words.js";
import { tokensOf } from "./text-normalisation.js";

/** What two texts must have in common to state the same: numbers and signs, decisive words, and names. */
export interface ProtectedTokens {
  /** Numbers, signs, negations and number words, sorted and joined. */
  readonly decisive: string;
  /** Capitalised tokens, in lower case. */
  readonly names: ReadonlySet<string>;
  /** All tokens, in lower case. */
  readonly all: ReadonlySet<string>;
}

/** The protected tokens of a text. */
export function protectedTokensOf(text: string): ProtectedTokens {
  const decisive: string[] = [];
  const names = new Set<string>();
  const all = new Set<string>();
  for (const token of tokensOf(text)) {
    const lower = token.toLowerCase();
    all.add(lower);
    if (!/^\p{L}[\p{L}\p{M}]*$/u.test(token) || DECISIVE_WORDS.has(lower)) decisive.push(lower);
    else if (/^\p{Lu}/u.test(token)) names.add(lower);
  }
  return { decisive: decisive.sort().join(" "), names, all };
}

/** True where both texts have the same numbers, signs, negations and names (whatever their case). */
export function haveSameProtectedTokens(left: ProtectedTokens, right: ProtectedTokens): boolean {
  return left.decisive === right.decisive && isContained(left.names, right.all) && isContained(right.names, left.all);
}

function isContained(tokens: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  for (const token of tokens) if (!others.has(token)) return false;
  return true;
}
