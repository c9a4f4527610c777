import { lastQuestion, readExchanges, toTurn, toTurns } from "./conversation.js";
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
  if (asObject(record.chosen) || asObject(record.rejected)) {
    return readPair(lastQuestion(turns), toTurn(record.chosen)?.text, toTurn(record.rejected)?.text);
  }
  const readings = readExchanges(turns);
  return readings.length > 0 ? readings : problem("no_answer", "no answer in text follows a human's text");
}
