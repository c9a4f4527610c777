import { hash } from "node:crypto";

/** Characters that are invisible in running text: soft hyphen, zero-width characters, byte order mark, variation selectors. */
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu;

// A word or a number with its sign and its inner separators ("-5", "1.5", "9:30", "G92"), or a sign that carries meaning ("%", "§", "+", "€").
const TOKEN =
  /(?:(?<![\p{L}\p{M}\p{N}])[-+−](?=\p{N}))?[\p{L}\p{M}\p{N}]+(?:[.,:/]\p{N}[\p{L}\p{M}\p{N}]*)*|[%‰§#&*/\\@]|(?![`´^¨])\p{S}/gu;

/**
 * The words, numbers and meaningful signs of a text, in order and in their own case; punctuation and white space are gone.
 * @example
 * ```ts
 * tokensOf("Genehmigung G92 kostet 1,5 %!"); // ["Genehmigung", "G92", "kostet", "1,5", "%"]
 * ```
 */
export function tokensOf(text: string): string[] {
  return text.normalize("NFC").replace(INVISIBLE, "").match(TOKEN) ?? [];
}

/**
 * The form in which two texts are compared: NFC, without case, punctuation, invisible characters and runs of white space. A text
 * that consists of nothing else (`"?!"`) is only trimmed, so that it does not equal every other such text.
 * @example
 * ```ts
 * normaliseText("  Wo ist das BÜRO?") === normaliseText("wo ist das büro"); // true
 * ```
 */
export function normaliseText(text: string): string {
  const tokens = tokensOf(text.normalize("NFC").toLowerCase());
  return tokens.length > 0 ? tokens.join(" ") : text.normalize("NFC").trim();
}

/** SHA-256 of texts, hex; a length prefix keeps `["ab", "c"]` and `["a", "bc"]` apart. */
export function hashOf(...parts: readonly string[]): string {
  // In one call, for an object of OpenSSL a hash costs more than the hash.
  return hash("sha256", parts.map((part) => `${part.length}:${part}`).join(""), "hex");
}

/** False where a text has half of a surrogate pair, which no UTF-8 can hold. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}
