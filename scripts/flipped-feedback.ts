import { seededRandom } from "../src/support/seeded-random.js";
import type { FeedbackInput } from "../src/types/index.js";
import { exampleRows } from "../test/pipeline/support/example-facts.js";
import { PARAPHRASED, type Paraphrased } from "../test/pipeline/support/paraphrases.js";

/** What is put in other words. */
export interface Rewording {
  questions: boolean;
  answers: boolean;
}

/** Feedback, and what its truth is. */
export interface Told {
  input: FeedbackInput;
  isWrong: boolean;
}

/** What is asked, and the right and a wrong answer, each in several wordings. */
export type Fact = Record<keyof Paraphrased, readonly string[]>;

const PEOPLE = 20;
const EACH = 8;
const UNKNOWN = "I am not sure about that.";

/** How the examples' answers are told; `$1` and `$2` are what the pattern finds, and `value` says which of them is the fact. */
const TELLINGS: { pattern: RegExp; value: 1 | 2; tell: readonly string[] }[] = [
  { pattern: /^The opening hour of (.+) is (\d+) o'clock\.$/, value: 2, tell: ["$2 o'clock.", "You can get into $1 from $2:00 on."] },
  { pattern: /^The caretaker of (.+) is (.+)\.$/, value: 2, tell: ["$2", "Please ask for $2, who takes care of $1."] },
  { pattern: /^The fuse box of (.+) is (.+)\.$/, value: 2, tell: ["You find it $2.", "Look $2, the fuses of $1 are there."] },
  { pattern: /^You need key (.+) for (.+)\.$/, value: 1, tell: ["$1", "Take $1, that is the key that fits."] },
  { pattern: /^At most (\d+) visitors may enter (.+)\.$/, value: 1, tell: ["$1 visitors.", "No more than $1 people."] },
  { pattern: /^You need form (.+) for (.+)\.$/, value: 1, tell: ["Form $1", "Please fill in $1."] },
  { pattern: /^The processing fee for (.+) is (\d+) euros\.$/, value: 2, tell: ["$2 €", "It costs $2 euros."] },
  { pattern: /^(.+) approves (.+)\.$/, value: 1, tell: ["$1", "Ask $1 to approve it."] },
  { pattern: /^It takes (\d+) weeks to get (.+)\.$/, value: 1, tell: ["$1 weeks", "You have to wait for $1 weeks."] },
  { pattern: /^The submission deadline for (.+) is (.+)\.$/, value: 2, tell: ["$2", "Hand it in by $2 at the latest."] },
];

/** Facts that were written by hand in several wordings. */
export const writtenFacts = (): readonly Fact[] => PARAPHRASED;

/** The examples' facts of a domain; a wrong answer is what the next fact of its kind says. */
export async function exampleFactsOf(domain: string): Promise<readonly Fact[]> {
  const asked = new Map<string, Map<string, string>>();
  for (const { prompt, response, correction, rating } of await exampleRows(`${domain}.jsonl`)) {
    const answer = correction ?? (Number(rating) > 0 ? response : undefined);
    if (typeof prompt !== "string" || typeof answer !== "string") continue;
    const question = prompt.trim();
    const questions = asked.get(answer) ?? new Map<string, string>();
    asked.set(answer, questions);
    if (question !== question.toUpperCase()) questions.set(question, question);
  }
  return TELLINGS.flatMap(({ pattern, value, tell }) => {
    const answers = [...asked.keys()].filter((answer) => pattern.test(answer));
    const factIn = (answer: string) => pattern.exec(answer)![value]!;
    return answers.flatMap((answer, index) => {
      const turned = [...answers.slice(index + 1), ...answers.slice(0, index)];
      const other = turned.find((one) => factIn(one) !== factIn(answer));
      if (other === undefined) return [];
      const wrong = answer.replace(factIn(answer), () => factIn(other));
      const told = (text: string) => [text, ...tell.map((how) => text.replace(pattern, how))];
      return [{ questions: [...asked.get(answer)!.values()], right: told(answer), wrong: told(wrong) }];
    });
  });
}

/**
 * What twenty people say of the facts, eight times each: three in five corrections, the rest thumbs up and down. So many of them say the
 * opposite every time, and agree with each other. The same seed gives the same people.
 */
export function population(facts: readonly Fact[], flippers: number, reworded: Rewording, seed: number): Told[] {
  const random = seededRandom(seed * 7919);
  const pick = <Item>(from: readonly Item[], isFree: boolean) => from[isFree ? Math.floor(random() * from.length) : 0]!;
  return Array.from({ length: PEOPLE * EACH }, (_, nth) => {
    // by turns, as people come
    const person = nth % PEOPLE;
    const isWrong = person < flippers;
    const fact = pick(facts, true);
    const prompt = pick(fact.questions, reworded.questions);
    const [good, bad] = isWrong ? [fact.wrong, fact.right] : [fact.right, fact.wrong];
    const kind = random();
    const said =
      kind < 0.6
        ? { response: UNKNOWN, rating: -1, correction: pick(good, reworded.answers) }
        : kind < 0.8
          ? { response: pick(good, reworded.answers), rating: 1 }
          : { response: pick(bad, reworded.answers), rating: -1 };
    return { input: { prompt, subjectId: `person-${person}`, ...said }, isWrong };
  });
}
