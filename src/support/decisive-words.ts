/** Words that turn a statement into its opposite, English and German. */
export const NEGATIONS: ReadonlySet<string> = new Set(
  (
    "no not none never without nor cannot cant dont wont isnt arent doesnt " +
    "nicht kein keine keinen keinem keiner keines nie niemals ohne weder"
  ).split(" "),
);

/** Small words that turn a fact into another fact, negations among them. */
export const DECISIVE_WORDS: ReadonlySet<string> = new Set([
  ...NEGATIONS,
  ...(
    "zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million first second third last " +
    "null ein eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend million erste zweite dritte letzte " +
    "before after above below more less all only always vor nach über unter mehr weniger alle nur immer"
  ).split(" "),
]);
