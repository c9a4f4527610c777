import { contentWordsOf, FUNCTION_WORDS, foldText, wordsOf } from "../../embedders/index.js";
import { DECISIVE_WORDS, NEGATIONS } from "../../support/decisive-words.js";
import { normaliseText } from "../storable-text.js";

/** An answer, ready to be compared with others to the same question. */
export interface Answer {
  prompt: string;
  text: string;
  normalised: string;
  /** All words. */
  all: ReadonlySet<string>;
  /** Stems of content words that the question does not have. */
  own: ReadonlySet<string>;
  /** Capitalised words among the content words. */
  names: ReadonlySet<string>;
  /** Numbers, in digits or words. */
  numbers: ReadonlySet<string>;
  negations: number;
}

/** What an embedder says of two answers; false where there is none. */
export type SameMeaning = (left: Answer, right: Answer) => boolean;

const NEGATION = new Set([...NEGATIONS].map(foldText));
/** Without those that are articles and prepositions as well. */
const NUMBER_WORDS = new Set([...DECISIVE_WORDS].map(foldText).filter((word) => !FUNCTION_WORDS.has(word) && !NEGATION.has(word)));

/** Share of the shorter answer's own words that another one must have to say the same (overlap coefficient: Szymkiewicz 1934, Simpson 1943). */
const MIN_OVERLAP = 0.75;
/** Jaccard index of all words from which two answers are one sentence, filled in differently. */
const MIN_TEMPLATE = 0.5;
/** Own words of an answer that is nothing but its fact. */
const MAX_BARE_FACT = 3;

/** Prepares an answer. */
export function answerOf(prompt: string, text: string): Answer {
  const asked = new Set(contentWordsOf(prompt).map(({ stem }) => stem));
  const words = wordsOf(text);
  const stems = contentWordsOf(text).map(({ stem }) => stem);
  const capitalised = (text.match(/\p{Lu}[\p{L}\p{M}]+/gu) ?? []).map(foldText);
  return {
    prompt,
    text,
    normalised: normaliseText(text),
    all: new Set(words),
    own: new Set(stems.filter((stem) => !asked.has(stem))),
    names: new Set(capitalised.filter((word) => !FUNCTION_WORDS.has(word))),
    numbers: new Set(words.filter((word) => /\p{N}/u.test(word) || NUMBER_WORDS.has(word))),
    negations: words.filter((word) => NEGATION.has(word)).length,
  };
}

/**
 * Whether two answers to one question state the same fact, or another one; `unknown` where their words do not tell, as of two long
 * answers that have little in common.
 */
export function compareAnswers(left: Answer, right: Answer, isSameMeaning: SameMeaning): "same" | "other" | "unknown" {
  if (left.normalised === right.normalised) return "same";
  const shorter = Math.min(left.own.size, right.own.size);
  const shared = common(left.own, right.own);
  const doOverlap = shorter > 0 && shared >= MIN_OVERLAP * shorter;
  if (left.negations !== right.negations) return doOverlap ? "other" : "unknown";
  if (!isContained(left.numbers, right.numbers) && !isContained(right.numbers, left.numbers)) return "other";
  const all = common(left.all, right.all);
  const isTemplate = all >= MIN_TEMPLATE * (left.all.size + right.all.size - all);
  const isOtherName = isTemplate && !isContained(left.names, right.all) && !isContained(right.names, left.all);
  if (isOtherName) return "other";
  if (doOverlap || isSameMeaning(left, right)) return "same";
  const isBareFact = shared === 0 && Math.max(left.own.size, right.own.size) <= MAX_BARE_FACT;
  return isTemplate || isBareFact ? "other" : "unknown";
}

function common(left: ReadonlySet<string>, right: ReadonlySet<string>): number {
  let count = 0;
  for (const word of left) if (right.has(word)) count++;
  return count;
}

function isContained(words: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  return common(words, others) === words.size;
}
