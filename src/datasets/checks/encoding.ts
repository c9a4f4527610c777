import type { QualityCheck } from "../../types/index.js";
import { isWellFormed } from "../text-normalisation.js";

/** Windows-1252 characters that stand for the bytes 0x80..0x9F, in which UTF-8 continuation bytes show up when decoded wrongly. */
const CONTINUATION = "\u0080-\u00BF€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ";
/** UTF-8 that was read as Windows-1252 or Latin-1: a lead byte, then as many continuation bytes as it asks for. */
const MOJIBAKE = new RegExp(`[ÂÃÄÅÐÑØÙ][${CONTINUATION}]|[àáâãäåèéìï][${CONTINUATION}]{2}|ð[${CONTINUATION}]{3}`, "gu");
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what the check looks for
const CONTROL = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]/;

/**
 * Whether a text is sound Unicode, and whether it was decoded rightly: no lone surrogates, no U+FFFD, no control characters but tab and line breaks, no
 * UTF-8 that was read as Windows-1252 ("GebÃ¼hr").
 * @example
 * ```ts
 * findEncodingFault("GebÃ¼hr"); // "UTF-8 was read as another encoding (\"Ã¼\")"
 * ```
 */
export function findEncodingFault(text: string): string | null {
  if (!isWellFormed(text)) return "it has half of a surrogate pair (invalid UTF-16)";
  if (text.includes("\uFFFD")) return "it has replacement characters (U+FFFD): bytes that were not valid UTF-8";
  const mojibake = text.match(MOJIBAKE)?.find((found) => !isPlausible(found));
  if (mojibake) return `UTF-8 was read as another encoding (${JSON.stringify(mojibake)})`;
  const control = CONTROL.exec(text);
  if (control) return `it has a control character (U+${control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")})`;
  return null;
}

/** The encoding check over question and answer; its fault alone rejects. */
export function checkEncoding(sample: { prompt: string; response: string }): QualityCheck {
  for (const [what, text] of [
    ["question", sample.prompt],
    ["answer", sample.response],
  ] as const) {
    const fault = findEncodingFault(text);
    if (fault)
      return { name: "encoding", score: 0, passed: false, code: "encoding_invalid", reason: `the ${what} is not valid text: ${fault}` };
  }
  return { name: "encoding", score: 1, passed: true };
}

/** A capital letter before a closing quote or an ellipsis is ordinary ("AMANHÃ”"); "Ã" before a dash ("Ã–" for "Ö") or "Â" before a sign is not. */
function isPlausible(found: string): boolean {
  return /^[ÂÃ][’”“…]$|^Ã»$|^[ÄÅÐÑØÙ][‚„…‘’“”•–—‹›™«»\u00A0]$|^[àáâãäåèéìï][’”“…–—‘‚„‹›»«\u00A0]{2}$/u.test(found);
}
