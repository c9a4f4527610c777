import { exchangesOf, lastQuestion, toTurn, toTurns } from "./conversation.js";
import { readPair } from "./openai.js";
import { problem, type Reading, unknownShape } from "./reading.js";
import { asObject } from "./record.js";

/**
 * A ShareGPT conversation: `{ id?, conversations: [{ from: "human" | "gpt" | "system" | …, value }] }`; with `chosen` and `rejected` (LLaMA-Factory's
 * preference shape) their answers to the last question. Answers to tools are left out.
 */
export function readShareGpt(value: unknown): Reading[] {
  const record = asObject(value);
  const turns = toTurns(record?.conversations);
  if (!record || turns === null) return unknownShape("{ conversations: [{ from, value }] }");
  if (record.chosen !== undefined || record.rejected !== undefined) {
    return readPair(lastQuestion(turns), toTurn(record.chosen)?.text, toTurn(record.rejected)?.text);
  }
  const exchanges = exchangesOf(turns);
  if (exchanges.length === 0) return problem("no_answer", "no answer in text follows a human's text");
  return exchanges.map((sample) => ({ sample }));
}
