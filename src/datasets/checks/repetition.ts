import type { QualityCheck } from "../../types/index.js";
import { normaliseText, tokensOf } from "../text-normalisation.js";

const KEYBOARD_ROWS = ["qwertyuiop", "qwertzuiopü", "asdfghjklöä", "zxcvbnm", "yxcvbnm"].flatMap((row) => [
  row,
  [...row].reverse().join(""),
]);
const NEIGHBOURS = new Set(KEYBOARD_ROWS.flatMap((row) => [...row].slice(1).map((key, index) => `${row[index]}${key}`)));
/** Sixty of one letter are a scream, not a sentence; rulers and leaders ("-----", ".....") are ordinary. */
const LONGEST_RUN = /([\p{L}!?])\1{59,}/u;

/** Words that are typed along a row of the keyboard ("asdfghjkl", "lkjhgf") or repeat one to four characters ("jajajajaja", "aaaa"). */
function isMash(token: string): boolean {
  if (token.length < 4) return false;
  if (/^(\p{L}{1,4}?)\1{2,}\p{L}{0,3}$/u.test(token) && token.length >= 5) return true;
  if (/^(\p{L})\1{3,}$/u.test(token)) return true;
  if (token.length < 5) return ["asdf", "qwer", "qwert", "yxcv", "zxcv", "jklö", "fdsa", "rewq"].includes(token);
  if (token.length >= 6 && /^[a-z]+$/.test(token) && !/[aeiouy]/.test(token)) return true;
  return KEYBOARD_ROWS.some((row) => row.includes(token)) || mostlyAlongRows(token);
}

/** Share of neighbouring letters that are neighbours on one keyboard row: .8 and no vowel pattern of a language reaches it. */
function mostlyAlongRows(token: string): boolean {
  if (token.length < 7) return false;
  let steps = 0;
  for (let index = 1; index < token.length; index += 1) {
    if (NEIGHBOURS.has(token.slice(index - 1, index + 1))) steps += 1;
  }
  return steps / (token.length - 1) >= 0.8;
}

/**
 * Whether a text says something: not one character over and over, not a keyboard's row, not the same few words again and again. Score: 1, or the share of what is left.
 * @example
 * ```ts
 * findRepetition("asdfghjkl asdfgh"); // { score: 0, reason: "most words are keyboard mash (\"asdfghjkl\")" }
 * ```
 */
export function findRepetition(text: string): { score: number; reason?: string } {
  if (LONGEST_RUN.test(text) || isOneCharacter(text)) return { score: 0, reason: "it repeats one character" };
  const words = tokensOf(normaliseText(text)).filter((token) => /^\p{L}+$/u.test(token));
  const mash = words.filter(isMash);
  if (mash.length > 0 && mash.length * 2 >= words.length) {
    return { score: 0, reason: `most words are keyboard mash (${JSON.stringify(mash[0]!.slice(0, 20))})` };
  }
  if (words.length < 8) return { score: 1 };
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  // A natural text of n words has at least about n^.6 distinct ones; lists and forms have fewer, so only a quarter of that is asked for.
  const expected = words.length ** 0.6;
  const share = counts.size / expected;
  if (share < 0.4) return { score: 0, reason: `it repeats the same ${counts.size} words over ${words.length}` };
  return share < 0.8 ? { score: 0.6, reason: "it repeats itself" } : { score: 1 };
}

function isOneCharacter(text: string): boolean {
  const characters = text.replace(/\s/gu, "").toLowerCase();
  const [first = ""] = characters;
  return (
    /[\p{L}\p{P}\p{S}]/u.test(first) &&
    characters.length >= 3 * first.length &&
    characters === first.repeat(characters.length / first.length)
  );
}

/** The repetition check over question and answer. */
export function checkRepetition(sample: { prompt: string; response: string }): QualityCheck {
  let worst: QualityCheck = { name: "repetition", score: 1, passed: true };
  for (const [what, text] of [
    ["question", sample.prompt],
    ["answer", sample.response],
  ] as const) {
    const found = findRepetition(text);
    if (found.score < worst.score)
      worst = {
        ...{ name: "repetition", score: found.score, passed: found.score > 0 },
        ...(found.score > 0 ? {} : { code: "repetitive" }),
        reason: `the ${what}: ${found.reason}`,
      };
  }
  return worst;
}
