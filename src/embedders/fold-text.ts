/** Letters that German keyboards without umlauts spell out; both spellings must meet. */
const SPELLED_OUT: Record<string, string> = { ä: "ae", ö: "oe", ü: "ue", ß: "ss", æ: "ae", œ: "oe", ø: "oe" };

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is ASCII as a whole
const NOT_ASCII = /[^\u0000-\u007f]/;

/**
 * One spelling for texts that mean the same letters: NFKC, lower case, German umlauts spelled out (`Gebühr` = `gebuehr`),
 * other diacritics dropped (`café` = `cafe`).
 * @example
 * ```ts
 * foldText("Ｇebühr"); // "gebuehr"
 * ```
 */
export function foldText(text: string): string {
  // Most texts are plain ASCII, for which the steps below change nothing but take most of a routing decision's time.
  if (!NOT_ASCII.test(text)) return text.toLowerCase();
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[äöüßæœø]/g, (letter) => SPELLED_OUT[letter]!)
    .normalize("NFD")
    .replace(/\p{M}+/gu, "")
    .normalize("NFC");
}

const WORD = /[\p{L}\p{N}]+/gu;

/**
 * The words of a text in order, folded by `foldText`; punctuation and symbols separate.
 * @example
 * ```ts
 * wordsOf("Was kostet's?"); // ["was", "kostet", "s"]
 * ```
 */
export function wordsOf(text: string): string[] {
  return foldText(text).match(WORD) ?? [];
}
