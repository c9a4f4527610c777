import { setImmediate as nextTurn } from "node:timers/promises";
import type { Answer, SameMeaning } from "./answers.js";
import { type Statement, stanceOn } from "./statements.js";

/** Newest statements on one question that are compared; more say little by themselves. */
const MAX_COMPARED = 500;
/** Statements compared before the event loop has its turn. */
const COMPARED_PER_TURN = 2_000;

/** What somebody says of a question, and who is for and who against it. */
export interface Claim {
  /** Number of the question. */
  question: number;
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
): Promise<Claim[]> {
  const newestFirst = statements.toSorted((left, right) => right.at - left.at || (left.id < right.id ? 1 : -1));
  const groups = [...Map.groupBy(newestFirst, ({ question }) => question).values()]
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
