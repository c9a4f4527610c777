import { foldText, wordsOf } from "../../embedders/index.js";
import { readNumberWords } from "./number-words.js";

const PM = String.raw`(?::\d\d)?\s*(?:(?:o['’]clock|uhr)\s*)?(?:p\.?m\b|in the (?:evening|afternoon)|at night|abends|nachmittags)`;

/** Spellings of one quantity, in the order in which they are made one. */
const SPELLINGS: readonly [RegExp, string | ((found: string) => string)][] = [
  [/€/g, " euro "],
  [/\$/g, " dollar "],
  [/%/g, " percent "],
  // 1,000 and 1.000 are 1000, 31st is 31, 08 is 8
  [/(?<=\d)[.,](?=\d{3}(?!\d))/g, ""],
  [/(?<=\d)(?:st|nd|rd|th)\b/g, ""],
  [/(?<![\p{L}\p{N}.,:])0(?=\d(?!\d))/gu, ""],
  [/\b(?:noon|midday)\b/g, "12 clock"],
  [new RegExp(String.raw`(?<!\d)\d{1,2}(?=${PM})`, "g"), (hour) => (Number(hour) < 12 ? String(Number(hour) + 12) : hour)],
  [/(?<=\d\s*)(?:o['’]clock|uhr|[ap]\.?m)\b/g, " clock "],
  [/(?<=(?<!\d)\d{1,2}):00(?!\d)/g, " clock "],
  // neither is a denial
  [/\b(?:no|not|nicht) (?=(?:more|less|fewer|longer|later|mehr|weniger|laenger|spaeter) (?:than|als)\b)/g, ""],
];

/** The words of a text in order, folded, quantities in one spelling: `twelve` and `12`, `6 pm` and `18:00`, `July 31st` and `31 July`. */
export function plainWordsOf(text: string): string[] {
  let plain = readNumberWords(foldText(text));
  for (const [spelling, one] of SPELLINGS) plain = plain.replace(spelling, one as string);
  return wordsOf(plain);
}
