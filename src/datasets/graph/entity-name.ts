import { FUNCTION_WORDS, foldText } from "../../embedders/index.js";
import { normaliseText, tokensOf } from "../text-normalisation.js";

/** Longest name of an entity, in characters. */
const LONGEST_NAME = 200;
/** Longest name that is looked for in a query word by word, in tokens. */
const LONGEST_GRAM = 4;
/** Names looked up for one query. */
const MOST_NAMES = 1_000;

/** The form under which an entity is found: without case and punctuation, plural `s` dropped; empty where nothing is left. */
export function entityNameOf(name: string): string {
  const tokens = normaliseText(name).split(" ");
  if (!tokens.some((token) => /[\p{L}\p{N}]/u.test(token))) return "";
  return tokens
    .map((token) => (token.length > 4 && /[^siu]s$/u.test(token) ? token.slice(0, -1) : token))
    .join(" ")
    .slice(0, LONGEST_NAME);
}

/** Every name that a text might mention: its runs of one to four tokens. A text in small letters finds names too. */
export function possibleNamesOf(text: string): string[] {
  const tokens = tokensOf(text);
  const names = new Set<string>();
  for (let start = 0; start < tokens.length; start += 1) {
    for (let length = Math.min(LONGEST_GRAM, tokens.length - start); length >= 1; length -= 1) {
      const gram = tokens.slice(start, start + length);
      if (gram.length === 1 && FUNCTION_WORDS.has(foldText(gram[0]!))) continue;
      names.add(entityNameOf(gram.join(" ")));
      if (names.size === MOST_NAMES) return [...names];
    }
  }
  names.delete("");
  return [...names];
}
