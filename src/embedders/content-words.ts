import { COMMON_WORDS } from "./common-words.js";
import { wordsOf } from "./fold-text.js";
import { FUNCTION_WORDS } from "./function-words.js";

/** A word that says what a text is about. */
export interface ContentWord {
  stem: string;
  /** 0..1: how much of a topic the word carries before any corpus is seen. */
  weight: number;
}

const COMMON_WEIGHT = 0.35;
const NUMBER_WEIGHT = 0.35;
const SHORTEST_STEM = 4;
const SUFFIXES = ["ungen", "ung", "ing", "ern", "est", "en", "er", "em", "es", "ed", "ly", "e", "s", "n", "t"];

/**
 * A crude stem for English and German at once: endings are cut while four letters remain, so that `opens`, `opening` and
 * `Anmeldung`, `anmelden` meet. Wrong for a dictionary, right for comparing questions.
 */
export function stemOf(word: string): string {
  let stem = word;
  for (;;) {
    const suffix = SUFFIXES.find((ending) => stem.length - ending.length >= SHORTEST_STEM && stem.endsWith(ending));
    if (suffix === undefined) return stem;
    stem = stem.slice(0, -suffix.length);
  }
}

const COMMON_STEMS: ReadonlySet<string> = new Set([...COMMON_WORDS].map(stemOf));

/** Words looked at lately; a function word is null. Bounded, since users write anything. */
const known = new Map<string, ContentWord | null>();
const MAX_KNOWN = 20_000;

/** The word's stem and weight; null for a function word. */
export function contentWord(word: string): ContentWord | null {
  let found = known.get(word);
  if (found !== undefined) return found;
  found = FUNCTION_WORDS.has(word) ? null : weigh(word);
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(word, found);
  return found;
}

/** The distinct content words of a text. */
export function contentWordsOf(text: string): ContentWord[] {
  const words = new Map<string, ContentWord>();
  for (const word of wordsOf(text)) {
    const content = contentWord(word);
    if (content !== null) words.set(content.stem, content);
  }
  return [...words.values()];
}

function weigh(word: string): ContentWord {
  if (/^\p{N}+$/u.test(word)) return { stem: word, weight: NUMBER_WEIGHT };
  const stem = stemOf(word);
  return { stem, weight: COMMON_WORDS.has(word) || COMMON_STEMS.has(stem) ? COMMON_WEIGHT : 1 };
}
