import { contentWord, contentWordsOf, FUNCTION_WORDS, foldText } from "../../embedders/index.js";
import { DECISIVE_WORDS, NEGATIONS } from "../../support/decisive-words.js";
import { normaliseText } from "../storable-text.js";
import { plainWordsOf } from "./plain-words.js";

/** An answer, ready to be compared with others. */
export interface Answer {
  prompt: string;
  text: string;
  normalised: string;
  /** All words, quantities in one spelling. */
  all: ReadonlySet<string>;
  /** Stems of content words that the question does not have. */
  own: ReadonlySet<string>;
  /** Those of `own` that are capitalised and begin no sentence. */
  names: ReadonlySet<string>;
  /** Numbers and words that change a fact as they do. */
  numbers: ReadonlySet<string>;
  /** What the numbers count. */
  units: ReadonlySet<string>;
  isDenial: boolean;
  /** Begins with yes or no. */
  isYesOrNo: boolean;
}

type Relation = "same" | "other" | "unknown";

/** What an embedder says of two answers; false where there is none. */
export type SameMeaning = (left: Answer, right: Answer) => boolean;

const NEGATION = new Set([...NEGATIONS].map(foldText));
/** Without those that are articles and prepositions as well. */
const NUMBER_WORDS = new Set([...DECISIVE_WORDS].map(foldText).filter((word) => !FUNCTION_WORDS.has(word) && !NEGATION.has(word)));
const UNITS: ReadonlyMap<string, string> = new Map(
  [
    "clock",
    "euro euros eur",
    "dollar dollars usd",
    "percent prozent",
    "minute minutes minuten",
    "hour hours stunde stunden",
    "day days tag tage tagen",
    "week weeks woche wochen",
    "month months monat monate monaten",
    "year years jahr jahre jahren",
    "metre metres meter meters metern",
    "kilometre kilometres kilometer kilometers km",
    "kilo kilos kilogram kilograms kilogramm kg",
    "litre litres liter liters litern",
  ].flatMap((words) => words.split(" ").map((word, _, [unit]): [string, string] => [word, unit!])),
);
const YES_OR_NO = new Set(["yes", "no", "ja", "nein"]);
const SAYS_NO_FACT = new Set([...YES_OR_NO, ...NEGATION, "mr", "mrs", "ms", "dr", "herr", "herrn", "frau"]);

/** Share of the shorter answer's own words that another one must have to say the same (overlap coefficient: Szymkiewicz 1934, Simpson 1943). */
const MIN_OVERLAP = 0.75;
/** Jaccard index of all words from which two answers are one sentence, filled in differently. */
const MIN_TEMPLATE = 0.5;
/** Own words of an answer that is nothing but its fact. */
const MAX_BARE_FACT = 3;

/** Prepares an answer. */
export function answerOf(prompt: string, text: string): Answer {
  const asked = new Set(contentWordsOf(prompt).map(({ stem }) => stem));
  const words = plainWordsOf(text);
  const ownStem = (word: string) => {
    const stem = contentWord(word)?.stem;
    return stem === undefined || asked.has(stem) || SAYS_NO_FACT.has(word) ? [] : [stem];
  };
  // a word that begins a sentence has a capital whatever it is
  const capitalised = text.replace(/(?<=\b(?:Mr|Mrs|Ms|Dr))\./g, "").match(/(?<=[\p{L}\p{N},;:]\s+)\p{Lu}[\p{L}\p{M}]+/gu) ?? [];
  return {
    prompt,
    text,
    normalised: normaliseText(text),
    all: new Set(words),
    own: new Set(words.flatMap(ownStem)),
    names: new Set(capitalised.map(foldText).flatMap(ownStem)),
    numbers: new Set(words.filter((word) => /\p{N}/u.test(word) || NUMBER_WORDS.has(word))),
    units: new Set(words.flatMap((word) => UNITS.get(word) ?? [])),
    isDenial: words.some((word) => NEGATION.has(word)),
    isYesOrNo: YES_OR_NO.has(words[0] ?? ""),
  };
}

/**
 * Whether two answers state the same fact, or another one; `unknown` where their words do not tell, as of two long answers that have little
 * in common. Of answers to one question in other words only what fills in the same sentence, or is of the same kind, states another fact: the
 * questions may not be the same after all.
 */
export function compareAnswers(left: Answer, right: Answer, isSameMeaning: SameMeaning, isSameQuestion = true): Relation {
  if (left.normalised === right.normalised) return "same";
  const other = isSameQuestion || isSameKind(left, right) ? "other" : "unknown";
  const shared = common(left.own, right.own);
  const shorter = Math.min(left.own.size, right.own.size);
  const doOverlap = shorter > 0 && shared >= MIN_OVERLAP * shorter;
  if (left.isDenial !== right.isDenial) return doOverlap || (isSameQuestion && shorter === 0) ? other : "unknown";
  if (!isEitherIn(left.numbers, right.numbers) || !isEitherIn(left.units, right.units)) return other;
  const all = common(left.all, right.all);
  const isTemplate = all >= MIN_TEMPLATE * (left.all.size + right.all.size - all);
  const isBareFact = shared === 0 && shorter > 0 && Math.max(left.own.size, right.own.size) <= MAX_BARE_FACT;
  if (!isEitherIn(left.names, right.names)) {
    const rest = Math.min(left.own.size - left.names.size, right.own.size - right.names.size);
    if (isTemplate || isBareFact || shared >= MIN_OVERLAP * rest) return other;
  }
  if (doOverlap) return "same";
  if (isTemplate) return other;
  if (common(left.numbers, right.numbers) + common(left.names, right.names) > 0 || isSameMeaning(left, right)) return "same";
  return isBareFact && isSameQuestion && !left.isYesOrNo && !right.isYesOrNo ? "other" : "unknown";
}

/** Whether their numbers count the same things, and are written alike: `B57` and `H12`, not `B57` and `12 euros`, nor `B57` and no number at all. */
function isSameKind(left: Answer, right: Answer): boolean {
  return doMeet(left.units, right.units) && doMeet(shapesOf(left), shapesOf(right));
}

function shapesOf({ numbers }: Answer): Set<string> {
  return new Set([...numbers].map((number) => number.replace(/\p{N}+/gu, "0").replace(/\p{L}+/gu, "a")));
}

function doMeet(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  return left.size + right.size === 0 || common(left, right) > 0;
}

function common(left: ReadonlySet<string>, right: ReadonlySet<string>): number {
  let count = 0;
  for (const word of left) if (right.has(word)) count++;
  return count;
}

/** Whether one holds all that the other does. */
function isEitherIn(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  return common(left, right) === Math.min(left.size, right.size);
}
