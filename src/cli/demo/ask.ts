import type { Clara } from "../../clara.js";
import type { CallOptions } from "../../types/common.js";

/** A question whose right answer is known. */
export interface Question {
  prompt: string;
  answer: string;
  /** Null: the base model should answer. */
  domain: string | null;
}

/** What came back. */
export interface Answered {
  question: Question;
  text: string;
  exact: boolean;
  adapterId: string | null;
  /** The model was given a correction of this question. */
  isRecalled: boolean;
}

/** Asks every question through the serving client, greedily. `base` pins the base model; otherwise the router chooses, with `memory` given corrections. */
export async function ask(
  clara: Clara,
  questions: readonly Question[],
  mode: "base" | "routed" | "memory",
  { signal }: CallOptions = {},
): Promise<Answered[]> {
  const results = await clara.serving.generateBatch(
    questions.map((question) => ({
      prompt: question.prompt,
      temperature: 0,
      maxTokens: 64,
      ...(mode === "base" ? { adapterId: null } : {}),
      memory: mode === "memory",
    })),
    { concurrency: 16, signal },
  );
  return results.map((result, index) => {
    if (result.status === "rejected") throw result.reason;
    const question = questions[index] as Question;
    const text = result.value.text.trim();
    const { adapterId, memory = [] } = result.value;
    return { question, text, exact: text === question.answer.trim(), adapterId, isRecalled: memory.length > 0 };
  });
}

/** Share of exact answers; 0 without any. */
export function exactShare(answers: readonly Answered[]): number {
  return answers.length === 0 ? 0 : answers.filter((answer) => answer.exact).length / answers.length;
}
