import { normaliseText } from "../storable-text.js";
import { type Answer, answerOf, compareAnswers, type SameMeaning } from "./answers.js";

/** What one feedback says about a question. */
export interface Statement {
  id: string;
  /** Who says it: one person of one tenant. */
  person: string;
  prompt: string;
  /** The prompt, normalised. */
  question: string;
  /** The answer that is said to be right; null: a thumb down alone. */
  answer: Answer | null;
  isCorrection: boolean;
  /** The answer that is said to be wrong, normalised; null: none. */
  opposed: string | null;
  /** Milliseconds since 1970. */
  at: number;
  /** Its sample waits, and neither a person nor a cycle has had it. */
  mayBeHeld: boolean;
}

/** Reads a rating; null where it says nothing. */
export function statementOf(feedback: {
  id: string;
  person: string;
  prompt: string;
  response: string;
  correction: string | null;
  rating: number;
  at: number;
  mayBeHeld: boolean;
}): Statement | null {
  const { id, person, prompt, response, correction, rating, at, mayBeHeld } = feedback;
  const rated = normaliseText(response);
  const hasCorrection = correction !== null && correction.trim() !== "";
  if (!hasCorrection && rating === 0) return null;
  const isCorrection = hasCorrection && normaliseText(correction) !== rated;
  const right = hasCorrection ? correction : rating > 0 ? response : null;
  return {
    id,
    person,
    prompt,
    question: normaliseText(prompt),
    answer: right === null ? null : answerOf(prompt, right),
    isCorrection,
    opposed: isCorrection || right === null ? rated : null,
    at,
    mayBeHeld,
  };
}

/**
 * Whether a statement is for (1) or against (−1) what another one claims, or says nothing about it (0). Two liked answers do not contradict
 * each other, for both may be good; a correction contradicts what states another fact.
 */
export function stanceOn(claim: Statement, statement: Statement, isSameMeaning: SameMeaning): -1 | 0 | 1 {
  if (claim.answer === null) {
    if (statement.answer?.normalised === claim.opposed) return -1;
    return statement.opposed === claim.opposed ? 1 : 0;
  }
  if (statement.answer === null) return statement.opposed === claim.answer.normalised ? -1 : 0;
  const relation = compareAnswers(claim.answer, statement.answer, isSameMeaning, claim.question === statement.question);
  if (relation === "same") return 1;
  if (statement.opposed === claim.answer.normalised || claim.opposed === statement.answer.normalised) return -1;
  return relation === "other" && (statement.isCorrection || claim.isCorrection) ? -1 : 0;
}
