import type { QualityCheck } from "../../types/index.js";
import { tokensOf } from "../text-normalisation.js";

/** Bounds of the length check, in characters. */
export interface LengthBounds {
  /** Documents below are rejected, question–answer pairs score lower. Default 50. */
  minLength: number;
  /** A document, a question or an answer above is rejected. Default 2048. */
  maxLength: number;
}

/**
 * A document must have `minLength`..`maxLength` characters. A question–answer pair may be short ("87." is an answer), but what is empty,
 * has no letter or digit, or is a single letter is junk.
 */
export function checkLength(
  sample: { prompt: string; response: string },
  kind: "question-answer" | "document",
  bounds: LengthBounds,
): QualityCheck {
  const tooLong = (
    [
      ["question", sample.prompt],
      ["answer", sample.response],
    ] as const
  ).find(([, text]) => text.length > bounds.maxLength);
  if (tooLong) {
    const what = kind === "document" ? "text" : tooLong[0];
    return failed("too_long", `the ${what} has ${tooLong[1].length} characters; at most ${bounds.maxLength} are allowed`);
  }
  const response = sample.response.trim();
  if (response === "") return failed("empty", kind === "document" ? "the text is empty" : "the answer is empty");
  if (kind === "document") {
    if (response.length < bounds.minLength)
      return failed("too_short", `the text has ${response.length} characters; at least ${bounds.minLength} are needed`);
    return { name: "length", score: 1, passed: true };
  }
  if (sample.prompt.trim() === "") return failed("empty", "the question is empty");
  for (const [what, text] of [
    ["question", sample.prompt],
    ["answer", response],
  ] as const) {
    if (!tokensOf(text).some((token) => /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(token)))
      return failed("no_word", `the ${what} has no letter or digit`);
  }
  if ([...response].length === 1 && /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}]/u.test(response)) {
    return failed("single_letter", "the answer is a single letter");
  }
  const length = sample.prompt.trim().length + response.length;
  if (length >= bounds.minLength) return { name: "length", score: 1, passed: true };
  return {
    name: "length",
    score: 0.5 + (0.5 * length) / bounds.minLength,
    passed: true,
    reason: `question and answer have only ${length} characters`,
  };
}

function failed(code: string, reason: string): QualityCheck {
  return { name: "length", score: 0, passed: false, code, reason };
}
