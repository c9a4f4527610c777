import type { QualityCheck } from "../../types/index.js";
import { detectLanguage } from "../language.js";

/** Names the language of a text; `null` where it is not clear. */
export type LanguageDetector = (text: string) => string | null;

/** German and English by their frequent words; null for anything else. */
export const detectByFrequentWords: LanguageDetector = (text) => {
  const language = detectLanguage(text);
  return language === "simple" ? null : language;
};

/** The language check over question and answer: a text whose language is clear must be in one of the expected ones. */
export function checkLanguage(
  sample: { prompt: string; response: string },
  expected: readonly string[],
  detect: LanguageDetector,
): QualityCheck {
  const language = detect(`${sample.prompt}\n${sample.response}`);
  if (language === null || expected.includes(language)) return { name: "language", score: 1, passed: true };
  const reason = `the language is ${language}, not ${expected.join(" or ")}`;
  return { name: "language", score: 0, passed: false, code: "language_unexpected", reason };
}
