import { setImmediate as nextTurn } from "node:timers/promises";
import { AlikeQuestions, type QuestionMeanings } from "./alike-questions.js";
import type { Answer, SameMeaning } from "./answers.js";
import { type Statement, stanceOn } from "./statements.js";

/** Newest statements on one question that are compared; more say little by themselves. */
const MAX_COMPARED = 500;
/** Statements compared before the event loop has its turn. */
const COMPARED_PER_TURN = 2_000;

/** What somebody says of a question, and who is for and who against it. */
export interface Claim {
  /** Normalised. */
  question: string;
  /** Those who say exactly this. */
  statements: Statement[];
  for: Statement[];
  against: Statement[];
}

/**
 * What different people contradict each other about. Every person has one vote on a claim, by what they said last.
 * `compareMeanings` is given the answers to questions that several people spoke to.
 */
export async function contestedClaims(
  statements: readonly Statement[],
  compareMeanings: (answers: readonly Answer[]) => Promise<SameMeaning>,
  meanings?: QuestionMeanings,
): Promise<Claim[]> {
  const newestFirst = statements.toSorted(newerFirst);
  const byQuestion = Map.groupBy(newestFirst, ({ question }) => question);
  const mayBeHeld = (question: string) => byQuestion.get(question)!.some((statement) => statement.mayBeHeld);
  const [settled, open] = [[...byQuestion.keys()].filter((question) => !mayBeHeld(question)), [...byQuestion.keys()].filter(mayBeHeld)];
  const questions = await AlikeQuestions.among(settled, open, meanings);
  const heard = [...byQuestion]
    .map(([question, own]) => ({ question, own: own.slice(0, MAX_COMPARED), all: spokenTo(question, byQuestion, questions) }))
    .filter(({ all }) => all.some(({ person }) => person !== all[0]!.person));
  // liked answers alone do not contradict each other, whatever they mean
  const corrected = heard.filter(({ all }) => all.some(({ isCorrection }) => isCorrection));
  const isSameMeaning = await compareMeanings(corrected.flatMap(({ all }) => all.flatMap(({ answer }) => answer ?? [])));
  const contested: Claim[] = [];
  let compared = 0;
  for (const { question, own, all } of heard) {
    for (const claim of Map.groupBy(own, sameClaim).values()) {
      compared += all.length;
      if (compared >= COMPARED_PER_TURN) {
        compared = 0;
        await nextTurn();
      }
      const votes = [...votesOn(claim[0]!, all, isSameMeaning).values()];
      const side = (stance: number) => votes.filter((vote) => vote.stance === stance).map(({ statement }) => statement);
      const [pros, cons] = [side(1), side(-1)];
      const owners = new Set(claim.map(({ person }) => person));
      // who only took back what he said is contradicted by nobody
      const isContested = cons.some(({ person }) => pros.length > 0 || !owners.has(person));
      if (isContested) contested.push({ question, statements: claim, for: pros, against: cons });
    }
  }
  return contested;
}

/** What was said of a question and of those that ask nearly the same, newest first; what others were asked takes no place of what this one was. */
function spokenTo(question: string, byQuestion: ReadonlyMap<string, Statement[]>, questions: AlikeQuestions): Statement[] {
  const own = byQuestion.get(question)!.slice(0, MAX_COMPARED);
  const others = questions.to(question).flatMap((text) => byQuestion.get(text)!);
  if (others.length === 0) return own;
  return [...own, ...others.sort(newerFirst).slice(0, MAX_COMPARED)].sort(newerFirst);
}

function newerFirst(left: Statement, right: Statement): number {
  return right.at - left.at || (left.id < right.id ? 1 : -1);
}

function sameClaim({ answer, isCorrection, opposed }: Statement): string {
  return JSON.stringify([answer?.normalised ?? null, isCorrection, opposed]);
}

function votesOn(claim: Statement, newestFirst: readonly Statement[], isSameMeaning: SameMeaning) {
  const votes = new Map<string, { stance: -1 | 1; statement: Statement }>();
  for (const statement of newestFirst) {
    if (votes.has(statement.person)) continue;
    const stance = stanceOn(claim, statement, isSameMeaning);
    if (stance !== 0) votes.set(statement.person, { stance, statement });
  }
  return votes;
}
