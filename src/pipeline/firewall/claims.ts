import { setImmediate as nextTurn } from "node:timers/promises";
import { QuestionIndex } from "../question-index.js";
import type { Answer, SameMeaning } from "./answers.js";
import { type Statement, stanceOn } from "./statements.js";

/** Newest statements on one question that are compared; more say little by themselves. */
const MAX_COMPARED = 500;
/** Questions numbered, and statements compared, before the event loop has its turn. */
const NUMBERED_PER_TURN = 50;
const COMPARED_PER_TURN = 2_000;

/** What somebody says of a question, and who is for and who against it. */
export interface Claim {
  /** Number of the question, which those that ask nearly the same share. */
  question: number;
  /** Those who say exactly this. */
  statements: Statement[];
  for: Statement[];
  against: Statement[];
}

/**
 * What different people contradict each other about. Every person has one vote on a claim, by what they said last of that very question.
 * `compareMeanings` is given the answers to questions that several people spoke to.
 */
export async function contestedClaims(
  statements: readonly Statement[],
  compareMeanings: (answers: readonly Answer[]) => Promise<SameMeaning>,
): Promise<Claim[]> {
  const newestFirst = statements.toSorted((left, right) => right.at - left.at || (left.id < right.id ? 1 : -1));
  const questionOf = await numberQuestions(newestFirst);
  const groups = [...Map.groupBy(newestFirst, (statement) => questionOf.get(statement.question)!).values()]
    .map((group) => group.slice(0, MAX_COMPARED))
    .filter((group) => group.some(({ person }) => person !== group[0]!.person));
  // liked answers alone do not contradict each other, whatever they mean
  const corrected = groups.filter((group) => group.some(({ isCorrection }) => isCorrection));
  const isSameMeaning = await compareMeanings(corrected.flatMap((group) => group.flatMap(({ answer }) => answer ?? [])));
  const contested: Claim[] = [];
  let compared = 0;
  for (const [question, group] of groups.entries()) {
    for (const claim of Map.groupBy(group, sameClaim).values()) {
      compared += group.length;
      if (compared >= COMPARED_PER_TURN) {
        compared = 0;
        await nextTurn();
      }
      const votes = [...votesOn(claim[0]!, group, isSameMeaning).values()];
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

/** The same number for those that ask nearly the same: each joins the most similar one that has a number already. */
async function numberQuestions(statements: readonly Statement[]): Promise<Map<string, number>> {
  const distinct = [...Map.groupBy(statements, ({ question }) => question).values()].map(([first]) => first!);
  const index = new QuestionIndex(distinct);
  const numbers = new Map<string, number>();
  for (const [number, { prompt, question }] of distinct.entries()) {
    if (number % NUMBERED_PER_TURN === NUMBERED_PER_TURN - 1) await nextTurn();
    const alike = index.find(prompt, (other) => numbers.has(other.question))[0]?.item;
    numbers.set(question, alike === undefined ? number : numbers.get(alike.question)!);
  }
  return numbers;
}

function sameClaim({ question, answer, isCorrection, opposed }: Statement): string {
  return JSON.stringify([question, answer?.normalised ?? null, isCorrection, opposed]);
}

function votesOn(claim: Statement, newestFirst: readonly Statement[], isSameMeaning: SameMeaning) {
  const votes = new Map<string, { stance: -1 | 1; statement: Statement }>();
  const isSameQuestion = (statement: Statement) => statement.question === claim.question;
  // what was said of a question that is only alike counts where nothing was said of this one
  for (const statement of [...newestFirst.filter(isSameQuestion), ...newestFirst.filter((other) => !isSameQuestion(other))]) {
    if (votes.has(statement.person)) continue;
    const stance = stanceOn(claim, statement, isSameMeaning);
    if (stance !== 0) votes.set(statement.person, { stance, statement });
  }
  return votes;
}
