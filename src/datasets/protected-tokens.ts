import { tokensOf } from "./text-normalisation.js";

/** Small words that turn a fact into another fact. */
const DECISIVE_WORDS = new Set(
  (
    "no not none never without nor cannot cant dont wont isnt arent doesnt nicht kein keine keinen keinem keiner keines nie niemals ohne weder " +
    "zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million first second third last " +
    "null ein eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend million erste zweite dritte letzte " +
    "before after above below more less all only always vor nach über unter mehr weniger alle nur immer"
  ).split(" "),
);

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
