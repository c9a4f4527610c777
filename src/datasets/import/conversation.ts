import { problem, type Reading } from "./reading.js";
import { asObject, asText } from "./record.js";

/** One turn of a conversation, whatever a format calls it. */
export interface Turn {
  role: "system" | "user" | "assistant" | "other";
  text: string | undefined;
  /** False for turns that must not be learnt from. */
  isLearnt: boolean;
}

/** A question and its answer. */
export interface Exchange {
  prompt: string;
  response: string;
}

const ROLES: Readonly<Record<string, Turn["role"]>> = {
  system: "system",
  developer: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  model: "assistant",
};

/** A turn `{ role, content, weight? }` (OpenAI) or `{ from, value }` (ShareGPT); null for anything else. */
export function toTurn(value: unknown): Turn | null {
  const turn = asObject(value);
  const role = asText(turn?.role) ?? asText(turn?.from);
  if (!turn || role === undefined) return null;
  return { role: ROLES[role.toLowerCase()] ?? "other", text: textOfContent(turn.content ?? turn.value), isLearnt: turn.weight !== 0 };
}

/** Turns of a list; null where one is no turn. */
export function toTurns(values: unknown): Turn[] | null {
  if (!Array.isArray(values)) return null;
  const turns = values.map(toTurn);
  return turns.every((turn) => turn !== null) ? turns : null;
}

/**
 * Every answer that directly follows a question. As everywhere in CLARA the question is the user's last turn alone: earlier turns and system texts are not
 * part of it.
 */
export function exchangesOf(turns: readonly Turn[]): Exchange[] {
  return turns.flatMap((turn, index) => {
    const question = turns[index - 1];
    if (turn.role !== "assistant" || !turn.isLearnt || question?.role !== "user") return [];
    return question.text === undefined || turn.text === undefined ? [] : [{ prompt: question.text, response: turn.text }];
  });
}

/** As `exchangesOf`, and why each other answer that was to be learnt is none; empty where no answer is. */
export function readExchanges(turns: readonly Turn[]): Reading[] {
  if (exchangesOf(turns).length === 0) return [];
  return turns.flatMap((turn, index): Reading[] => {
    if (turn.role !== "assistant" || !turn.isLearnt) return [];
    const [sample] = exchangesOf(turns.slice(Math.max(0, index - 1), index + 1));
    if (sample) return [{ sample }];
    const why = turn.text === undefined ? "the answer has no text" : "no question in text stands directly before the answer";
    return problem("no_answer", `turn ${index + 1}: ${why}`);
  });
}

/** The user's last turn. */
export function lastQuestion(turns: readonly Turn[]): string | undefined {
  return turns.findLast((turn) => turn.role === "user")?.text;
}

/** Parts of an answer that nobody was shown. */
const THOUGHTS: ReadonlySet<string> = new Set(["thought", "thinking", "redacted_thinking", "reasoning"]);

/** A text, or the texts of a list of parts `{ type: "text", text }`, thoughts left out; undefined where there is an image, a tool call or nothing. */
export function textOfContent(content: unknown): string | undefined {
  if (!Array.isArray(content)) return asText(content);
  const said = content.filter((part) => !THOUGHTS.has(String(asObject(part)?.type)));
  const texts = said.map((part) => {
    const block = asObject(part);
    return block?.type === "text" ? (asText(block.text) ?? asText(block.value)) : undefined;
  });
  return texts.length > 0 && texts.every((text) => text !== undefined) ? texts.join("\n") : undefined;
}
