import { type RawBuilder, sql } from "kysely";

/** Texts that one word brings in at most; beyond, it tells nothing. */
export const MATCHES_PER_WORD = 20_000;
/** How many times as many texts are ranked as are handed on. */
export const RANKED_PER_CANDIDATE = 2;
/** Of so many texts, those that have most of the query, the mean length is taken: the same whatever `topK` is. */
export const SAMPLED_FOR_LENGTH = 100;
/** How much more a word in a title (weight A) counts. */
export const MORE_IN_TITLE = 1;
/** The usual constants of BM25: how soon another mention of a word counts less, and how much the length of a text counts. */
const K1 = 1.2;
const B = 0.75;

/** What a word counts by how rare it is: ln(1 + texts / texts that have it), and ln 2 where none has it. */
export function wordWeight(texts: RawBuilder<unknown>, textsWithIt: RawBuilder<unknown>): RawBuilder<number> {
  return sql`ln(1 + coalesce(${texts} / ${textsWithIt}, 1))`;
}

/** BM25's part of one word (Robertson and Zaragoza 2009): weight · times · (k1 + 1) / (times + k1 · (1 − b + b · length / usual length)). */
export function wordScore(word: {
  weight: RawBuilder<unknown>;
  /** How often it stands in the text. */
  times: RawBuilder<unknown>;
  length: RawBuilder<unknown>;
  usualLength: RawBuilder<unknown>;
}): RawBuilder<number> {
  const { weight, times, length, usualLength } = word;
  return sql`${weight} * ${times} * ${K1 + 1}::double precision
    / (${times} + ${K1}::double precision * (1 - ${B}::double precision + ${B}::double precision * ${length} / ${usualLength}))`;
}

/** A sum of `wordScore` over the sum of all words' weights, which is what a text of usual length has that has each word once; absolute, and below 1: such a text has tanh 1 = .76. */
export function absoluteScore(sum: RawBuilder<unknown>, possible: RawBuilder<unknown>): RawBuilder<number> {
  return sql`tanh(${sum} / ${possible})`;
}

/** The column `word` as a query for exactly that word, whatever characters it has. */
export const WORD_AS_QUERY: RawBuilder<unknown> = sql`('''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''')::tsquery`;

/** True where the words are conditions: quotes, OR, a leading minus. */
export function hasOperators(queryText: string): boolean {
  return /"[^"]+"|(?:^|\s)-[\p{L}\p{N}"]|\sOR\s/u.test(queryText);
}
