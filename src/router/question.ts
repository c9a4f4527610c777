import { type ContentWord, contentWord, wordsOf } from "../embedders/index.js";

/** A text as the router compares it with others. */
export interface Question {
  /** The distinct content words; function words are left out, everyday words and numbers weigh little. */
  words: readonly ContentWord[];
  /** The distinct stems, function words among them, and pairs of neighbours: how a question is put. */
  terms: readonly string[];
}

/** Characters of a text that are looked at. */
const MAX_CHARACTERS = 8_192;
/** A stem that no text holds. */
const UNKNOWN_STEM = "\u0000";

/** Takes a text apart. */
export function readQuestion(text: string): Question {
  const words: ContentWord[] = [];
  const stems = new Set<string>();
  const pairs = new Set<string>();
  let before: string | undefined;
  for (const word of wordsOf(text.length > MAX_CHARACTERS ? text.slice(0, MAX_CHARACTERS) : text)) {
    const content = contentWord(word);
    const stem = content?.stem ?? word;
    if (content !== null && !stems.has(stem)) words.push(content);
    stems.add(stem);
    if (before !== undefined) pairs.add(`${before} ${stem}`);
    before = stem;
  }
  return { words, terms: [...stems, ...pairs] };
}

/**
 * The question with this share of its content words, but at least one, exchanged for words that nobody knows, and those words' share of
 * the content; null below two words.
 */
export function exchangeWords(question: Question, share: number, seed: number): { question: Question; exchanged: number } | null {
  const { words, terms } = question;
  if (words.length < 2) return null;
  const first = (seed * 7919) % words.length;
  const count = Math.max(1, Math.floor(share * words.length));
  const gone = new Set(Array.from({ length: count }, (_, index) => words[(first + index) % words.length]!));
  const stems = new Set([...gone].map(({ stem }) => stem));
  const weightOf = (some: Iterable<ContentWord>): number => [...some].reduce((sum, { weight }) => sum + weight, 0);
  const exchange = (part: string): string => (stems.has(part) ? UNKNOWN_STEM : part);
  return {
    question: {
      words: words.map((word) => ({ stem: exchange(word.stem), weight: word.weight })),
      terms: terms.map((term) => term.split(" ").map(exchange).join(" ")),
    },
    exchanged: weightOf(gone) / weightOf(words),
  };
}
