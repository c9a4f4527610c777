import { setImmediate } from "node:timers/promises";
import { seededRandom } from "../../support/seeded-random.js";
import type { GateReason } from "../../types/cycle.js";
import { mean, shuffled } from "./statistics.js";

/** A question with the answer it came with. */
export interface QuestionAnswerPair {
  prompt: string;
  response: string;
}

/** What the pairing check measured. */
export interface PairingAssessment {
  rows: number;
  /** Mean agreement (0..1) of questions with their own answers. */
  own: number;
  /** Mean agreement with the best answer of the batch. */
  best: number;
  /** Mean agreement with answers drawn at random from the batch. */
  random: number;
  /** Where the own answers stand between random (0) and best (1). */
  index: number;
  /** Share of the rows whose content words another answer restates clearly better than their own. */
  misplaced: number;
  /** Probability that answers would cover questions so well if their words were in random company: low where several words meet. */
  signalSignificance: number;
  /** Probability that answers dealt out at random would agree with the questions at least as well as the own ones. */
  ownSignificance: number;
  reason: GateReason;
}

/** Questions and answers looked at; more are drawn from. */
const MAX_QUESTIONS = 200;
const MAX_ANSWERS = 1000;
/** The least significance is 1 / (PERMUTATIONS + 1), just below the limit. */
const PERMUTATIONS = 100;
const SIGNIFICANCE_LIMIT = 0.01;
/** Agreement by which another answer must be ahead before a row counts as misplaced. */
const MARGIN = 0.15;
/** An answer of fewer words restates nothing, even if it is a word of some question. */
const MIN_ANSWER_WORDS = 4;
/** Several words of a question meet in one answer: so many rows misplaced, and own answers hardly nearer to the best than to chance. */
const STRONG = { misplaced: 0.35, index: 0.6 };
/** Only single words meet, which may be chance: more rows misplaced, and own answers no better than answers dealt out at random. */
const WEAK = { misplaced: 0.6, ownSignificance: 0.05 };

type Vector = Map<string, number>;

/**
 * Asks whether answers are paired with their own questions, before any model is asked. Answers that restate words of their
 * question ("The fee for X is 12 euros.") give themselves away when they are permuted, row by row or fact by fact: other answers
 * of the batch then restate the question's content words far better. Agreement is the cosine of idf-weighted content words.
 * Healthy batches have almost no misplaced rows; where answers never restate questions (single words, code), the check abstains.
 */
export async function assessPairing(pairs: readonly QuestionAnswerPair[], options: { seed?: number } = {}): Promise<PairingAssessment> {
  const random = seededRandom(options.seed ?? 1);
  const rows = pairs.length > MAX_ANSWERS ? shuffled(pairs, random).slice(0, MAX_ANSWERS) : pairs;
  const answers = new Map(rows.map((row) => [answerKey(row), answerWords(row.response)]));
  const columns = new Map([...answers.keys()].map((key, index) => [key, index]));
  const asked = rows.length > MAX_QUESTIONS ? shuffled(rows, random).slice(0, MAX_QUESTIONS) : rows;
  const own = asked.map((row) => columns.get(answerKey(row)) as number);
  const prompts = asked.map((row) => contentWords(row.prompt));
  const weights = inverseDocumentFrequencies(prompts, [...answers.values()]);
  const questions = prompts.map((words) => toVector(words, weights));
  const agreement = agreements(
    questions,
    [...answers.values()].map((words) => toVector(words, weights)),
  );
  const ownScores = agreement.map((row, index) => row[own[index] as number] as number);
  const bestScores = agreement.map((row) => row.reduce((most, score) => Math.max(most, score), 0));
  const figures = { rows: asked.length, own: mean(ownScores), best: mean(bestScores), random: mean(agreement.map((row) => mean(row))) };
  const room = figures.best - figures.random;
  const found = {
    ...figures,
    index: room <= 0 ? 1 : (figures.own - figures.random) / room,
    misplaced: mean(ownScores.map((score, index) => ((bestScores[index] as number) - score > MARGIN ? 1 : 0))),
    signalSignificance: await restatementSignificance(questions, [...answers.values()], random),
    ownSignificance: dealtSignificance(agreement, own, random),
  };
  return { ...found, reason: judge(found, answers.size) };
}

function judge(found: Omit<PairingAssessment, "reason">, distinctAnswers: number): GateReason {
  const criterion = "pairing";
  if (distinctAnswers < 4 || found.rows < 8) {
    return { criterion, verdict: "pass", message: "no signal: too few different answers to compare" };
  }
  const message = `own answers agree ${found.own.toFixed(2)}, the batch's best ${found.best.toFixed(2)}, ${(100 * found.misplaced).toFixed(0)} % of ${found.rows} questions are restated better by another answer`;
  const isStrong = found.signalSignificance <= SIGNIFICANCE_LIMIT;
  const isWrong = isStrong
    ? found.misplaced > STRONG.misplaced && found.index < STRONG.index
    : found.misplaced > WEAK.misplaced && found.ownSignificance > WEAK.ownSignificance;
  if (isWrong) return { criterion, verdict: "fail", message: `answers belong to other questions: ${message}` };
  if (!isStrong && found.ownSignificance > SIGNIFICANCE_LIMIT) {
    return { criterion, verdict: "pass", message: `no signal: answers do not restate their questions (${message})` };
  }
  return { criterion, verdict: "pass", message };
}

/** How often answers dealt out at random among the questions agree as well as the own ones. */
function dealtSignificance(agreement: readonly Float64Array[], own: readonly number[], random: () => number): number {
  const agreementOf = (columns: readonly number[]) =>
    mean(columns.map((column, row) => (agreement[row] as Float64Array)[column] as number));
  const observed = agreementOf(own);
  let atLeast = 0;
  for (let permutation = 0; permutation < PERMUTATIONS; permutation++) if (agreementOf(shuffled(own, random)) >= observed) atLeast++;
  return (atLeast + 1) / (PERMUTATIONS + 1);
}

/**
 * Compares the best coverage of the questions' words with that by made-up answers, which use the same words as often but in random
 * company. Coverage rather than cosine, because a short made-up answer that meets one word by chance has a high cosine.
 */
async function restatementSignificance(
  questions: readonly Vector[],
  answers: readonly Set<string>[],
  random: () => number,
): Promise<number> {
  const coverage = (texts: readonly Iterable<string>[]) => {
    const present = texts.map((text) => new Map([...text].map((word) => [word, 1])));
    const squares = questions.map((question) => new Map([...question].map(([word, weight]) => [word, weight * weight])));
    return mean(agreements(squares, present).map((row) => row.reduce((most, score) => Math.max(most, score), 0)));
  };
  const observed = coverage(answers);
  const words = answers.flatMap((answer) => [...answer]);
  let atLeast = 0;
  for (let permutation = 0; permutation < PERMUTATIONS; permutation++) {
    if (permutation % 5 === 0) await setImmediate(); // the host's event loop goes on meanwhile
    const mixed = shuffled(words, random);
    let next = 0;
    const invented = answers.map((answer) => {
      next += answer.size;
      return mixed.slice(next - answer.size, next);
    });
    if (coverage(invented) >= observed) atLeast++;
  }
  return (atLeast + 1) / (PERMUTATIONS + 1);
}

/** Cosine of every question with every answer, by an inverted index. */
function agreements(questions: readonly Vector[], answers: readonly Vector[]): Float64Array[] {
  const postings = new Map<string, [column: number, weight: number][]>();
  answers.forEach((answer, column) => {
    for (const [word, weight] of answer) {
      const list = postings.get(word);
      if (list === undefined) postings.set(word, [[column, weight]]);
      else list.push([column, weight]);
    }
  });
  return questions.map((question) => {
    const row = new Float64Array(answers.length);
    for (const [word, weight] of question)
      for (const [column, other] of postings.get(word) ?? []) row[column] = (row[column] as number) + weight * other;
    return row;
  });
}

/** Unit vector of idf weights. */
function toVector(words: ReadonlySet<string>, weights: ReadonlyMap<string, number>): Vector {
  let norm = 0;
  for (const word of words) norm += (weights.get(word) ?? 0) ** 2;
  const scale = norm === 0 ? 0 : 1 / Math.sqrt(norm);
  return new Map([...words].map((word) => [word, (weights.get(word) ?? 0) * scale]));
}

function inverseDocumentFrequencies(...collections: readonly (readonly Set<string>[])[]): Map<string, number> {
  const weights = new Map<string, number>();
  for (const texts of collections) {
    const frequencies = new Map<string, number>();
    for (const words of texts) for (const word of words) frequencies.set(word, (frequencies.get(word) ?? 0) + 1);
    // the lower of both sides: a word in every question or in every answer tells nothing about who belongs to whom
    for (const [word, frequency] of frequencies) {
      const weight = Math.log(1 + (texts.length - frequency) / frequency);
      weights.set(word, Math.min(weights.get(word) ?? Number.POSITIVE_INFINITY, weight));
    }
  }
  return weights;
}

const answerKey = (pair: QuestionAnswerPair) => pair.response.trim().toLowerCase();

function answerWords(answer: string): Set<string> {
  const words = contentWords(answer);
  return words.size < MIN_ANSWER_WORDS ? new Set() : words;
}

/** Lower-cased words, cut to six letters so that most inflections meet ("Widerspruch", "Widerspruchs"). */
function contentWords(text: string): Set<string> {
  const words = new Set<string>();
  for (const match of text
    .slice(0, 4000)
    .toLowerCase()
    .matchAll(/[\p{L}\p{N}]+/gu))
    words.add(match[0].slice(0, 6));
  return words;
}
