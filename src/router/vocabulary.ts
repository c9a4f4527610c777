import type { Question } from "./question.js";

/** In how many questions each key is found. */
export interface KeyCounts {
  keys: readonly string[];
  counts: Int32Array;
}

/** What an adapter's questions are made of; counted once, since tables of many adapters are put together from it again and again. */
export interface Vocabulary {
  /** Stems of content words. */
  stems: KeyCounts;
  /** Of those stems, the parts of `GRAM_LENGTH` characters. */
  grams: KeyCounts;
  /** All stems and pairs of neighbours. */
  terms: KeyCounts;
}

const GRAM_LENGTH = 4;

/** Counts an adapter's questions. */
export function vocabularyOf(questions: readonly Question[]): Vocabulary {
  return {
    stems: countsOf(questions.map(({ words }) => words.map(({ stem }) => stem))),
    grams: countsOf(questions.map(({ words }) => new Set(words.flatMap(({ stem }) => gramsOf(stem))))),
    terms: countsOf(questions.map(({ terms }) => terms)),
  };
}

/** The distinct parts of a stem. */
export function gramsOf(stem: string): string[] {
  const grams = new Set<string>();
  for (let start = 0; start + GRAM_LENGTH <= stem.length; start++) grams.add(stem.slice(start, start + GRAM_LENGTH));
  return [...grams];
}

function countsOf(questions: readonly Iterable<string>[]): KeyCounts {
  const counts = new Map<string, number>();
  for (const keys of questions) for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return { keys: [...counts.keys()], counts: Int32Array.from(counts.values()) };
}
