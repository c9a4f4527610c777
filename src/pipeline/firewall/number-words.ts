const ONES =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen";
const GERMAN_ONES =
  "null eins zwei drei vier fuenf sechs sieben acht neun zehn elf zwoelf dreizehn vierzehn fuenfzehn sechzehn siebzehn achtzehn neunzehn";
const TENS = "twenty thirty forty fifty sixty seventy eighty ninety";
const GERMAN_TENS = "zwanzig dreissig vierzig fuenfzig sechzig siebzig achtzig neunzig";

/** Folded, as all words here. Without `ein`, which is an article as well. */
const VALUES: ReadonlyMap<string, number> = new Map([
  ...[ONES, GERMAN_ONES].flatMap((words) => words.split(" ").map((word, index): [string, number] => [word, index])),
  ...[TENS, GERMAN_TENS].flatMap((words) => words.split(" ").map((word, index): [string, number] => [word, 10 * (index + 2)])),
]);
const FACTORS: ReadonlyMap<string, number> = new Map([
  ["hundred", 100],
  ["hundert", 100],
  ["thousand", 1000],
  ["tausend", 1000],
]);

/** Puts digits in the place of numbers in words, English and German, in a text that is folded. */
export function readNumberWords(folded: string): string {
  const pieces = folded.split(/([\p{L}\p{N}]+)/u);
  const read: string[] = [];
  for (let at = 0; at < pieces.length; at++) {
    const { value, next } = readNumber(pieces, at);
    read.push(value === null ? pieces[at]! : String(value));
    at = next;
  }
  return read.join("");
}

/** The number that begins at a piece, and its last piece; words are at odd places, what separates them between. */
function readNumber(pieces: readonly string[], from: number): { value: number | null; next: number } {
  let [sum, part, next] = [0, 0, from];
  let isNumber = false;
  for (let at = from; at < pieces.length; at += 2) {
    const word = pieces[at]!;
    const isJoined = at === from || /^[ -]$/.test(pieces[at - 1]!);
    const factor = FACTORS.get(word);
    const value = wordValue(word);
    if (!isJoined) break;
    if (isNumber && (word === "and" || word === "und") && part % 100 === 0) continue;
    if (factor !== undefined) {
      if (factor === 1000) [sum, part] = [sum + (part || 1) * 1000, 0];
      else part = (part || 1) * factor;
    } else if (value !== null && fits(part, value, isNumber)) part += value;
    else break;
    isNumber = true;
    next = at;
  }
  return isNumber ? { value: sum + part, next } : { value: null, next: from };
}

/** `twenty` and `two` are one number, `nine` and `eleven` are two. */
function fits(part: number, value: number, isNumber: boolean): boolean {
  if (!isNumber || (part % 100 === 0 && value < 100)) return true;
  return part % 10 === 0 && part % 100 >= 20 && value < 10 && value > 0;
}

/** A number in one word, as German writes them. */
function wordValue(word: string): number | null {
  const known = VALUES.get(word);
  if (known !== undefined) return known;
  const [, thousands, hundreds, ones, tens, rest] =
    /^(?:(\p{L}*?)tausend)?(?:(\p{L}*?)hundert)?(?:und)?(?:(\p{L}+?)und(\p{L}+zig|dreissig)|(\p{L}*))$/u.exec(word) ?? [];
  const small = (part: string | undefined) =>
    part === undefined ? 0 : part === "" || part === "ein" ? 1 : (VALUES.get(part) ?? Number.NaN);
  if (thousands === undefined && hundreds === undefined && ones === undefined) return null;
  const last = ones === undefined ? (rest ? small(rest) : 0) : small(ones) + small(tens);
  const value = small(thousands) * 1000 + small(hundreds) * 100 + last;
  return Number.isNaN(value) ? null : value;
}
