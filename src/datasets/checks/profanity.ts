import naughtyWords from "naughty-words";
import type { CallOptions, QualityCheck } from "../../types/index.js";
import { INNOCENT_PHRASES, PROFANITY_EXCEPTIONS } from "./profanity-exceptions.js";

/** What a classifier says of one text. */
export interface TextClassification {
  flagged: boolean;
  /** 0 (harmless) … 1. */
  score: number;
  /** What it was flagged for. */
  terms?: string[];
}

/**
 * Judges a text, for example as profane or toxic. Replace the default by a model of your own.
 * @example
 * ```ts
 * const classifier: TextClassifier = { name: "none", classify: async () => ({ flagged: false, score: 0 }) };
 * ```
 */
export interface TextClassifier {
  readonly name: string;
  classify(text: string, options?: CallOptions): Promise<TextClassification>;
}

/** Options of `wordListClassifier`. */
export interface WordListOptions {
  /** Words and phrases to flag; default: German and English of `naughty-words`. */
  words?: readonly string[];
  /** Words not to flag; default: those that medicine, law and everyday questions need. */
  exceptions?: readonly string[];
}

/** A word, with what joins its parts; "Scunthorpe" is one word, and so is "Fick’sches". */
const WORD = /[\p{L}\p{M}\p{N}@$*]+(?:['’][\p{L}\p{M}]+)*/gu;
const DISGUISES: Readonly<Record<string, string>> = { "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", $: "s" };

/**
 * A classifier by word lists that flags whole words and phrases only, also when letters are replaced ("sh1t", "f*ck") or pulled apart by invisible characters.
 * @example
 * ```ts
 * await wordListClassifier().classify("Der Staatsanwalt aus Scunthorpe"); // { flagged: false, score: 0, terms: [] }
 * ```
 */
export function wordListClassifier(options: WordListOptions = {}): TextClassifier {
  const exceptions = new Set((options.exceptions ?? PROFANITY_EXCEPTIONS).map((word) => word.toLowerCase()));
  const words = (options.words ?? [...naughtyWords.de, ...naughtyWords.en])
    .map((word) => word.toLowerCase().normalize("NFC"))
    .filter((word) => !exceptions.has(word));
  const single = new Set(words.filter((word) => !/\s/u.test(word)));
  const phrases = Map.groupBy(
    words.filter((word) => /\s/u.test(word)),
    (phrase) => phrase.split(/\s/u, 1)[0]!,
  );
  const symbols = words.filter((word) => !/[\p{L}\p{N}]/u.test(word));
  return {
    name: "naughty-words-de-en",
    async classify(text, callOptions) {
      callOptions?.signal?.throwIfAborted();
      const plain = INNOCENT_PHRASES.reduce((rest, phrase) => rest.replace(phrase, " "), visible(text));
      const tokens = plain.match(WORD) ?? [];
      const terms = new Set<string>();
      for (const token of tokens) {
        const found = formsOf(token).find((form) => single.has(form)) ?? findMasked(token, single);
        if (found) terms.add(found);
      }
      const line = ` ${tokens.join(" ")} `;
      for (const token of new Set(tokens)) {
        for (const phrase of phrases.get(token) ?? []) if (line.includes(` ${phrase} `)) terms.add(phrase);
      }
      for (const symbol of symbols) if (plain.includes(symbol)) terms.add(symbol);
      return { flagged: terms.size > 0, score: terms.size > 0 ? 1 : 0, terms: [...terms] };
    },
  };
}

/** The profanity check over question and answer; what the classifier flags is rejected. */
export async function checkProfanity(
  sample: { prompt: string; response: string },
  classifier: TextClassifier,
  options: CallOptions = {},
): Promise<QualityCheck> {
  const result = await classifier.classify(`${sample.prompt}\n${sample.response}`, options);
  const score = 1 - Math.min(1, Math.max(0, result.score));
  if (!result.flagged) return { name: "profanity", score, passed: true };
  const terms = result.terms?.length ? `: ${result.terms.map((term) => JSON.stringify(term)).join(", ")}` : "";
  return { name: "profanity", score, passed: false, code: "profane", reason: `${classifier.name} flagged it${terms}` };
}

function visible(text: string): string {
  return text
    .normalize("NFKC")
    .replace(/\p{Default_Ignorable_Code_Point}/gu, "")
    .toLowerCase();
}

/** The word as it stands, without a genitive, and with its disguises taken off. */
function formsOf(token: string): string[] {
  const bare = token.replace(/['’]s$/u, "");
  if (!/[\d@$]/u.test(bare) || !/\p{L}/u.test(bare)) return [bare];
  return [bare, [...bare].map((character) => DISGUISES[character] ?? character).join("")];
}

/** "f*ck": one or two stars inside a word of at least four characters stand for any letter; the ends must be letters. */
function findMasked(token: string, words: ReadonlySet<string>): string | undefined {
  if (!token.includes("*") || !/^\p{L}+\*{1,2}\p{L}+$/u.test(token) || token.length < 4) return undefined;
  const pattern = new RegExp(`^${token.replaceAll("*", "\\p{L}")}$`, "u");
  for (const word of words) if (word.length === token.length && pattern.test(word)) return word;
  return undefined;
}
