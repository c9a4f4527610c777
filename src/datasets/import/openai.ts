import { lastQuestion, readExchanges, toTurns } from "./conversation.js";
import { problem, type Reading, unknownShape } from "./reading.js";
import { asObject } from "./record.js";

/**
 * A line of an OpenAI fine-tuning file: `{ messages }`, of which answers with weight 0 are left out, or the preference shape `{ input: { messages },
 * preferred_output, non_preferred_output }`, whose first answer is imitated and whose second is a thumb down.
 * Sources: OpenAI guides "Supervised fine-tuning" and "Direct preference optimization".
 */
export function readOpenAi(value: unknown): Reading[] {
  const record = asObject(value);
  const input = asObject(record?.input);
  if (record && input)
    return readPreference(toTurns(input.messages), toTurns(record.preferred_output), toTurns(record.non_preferred_output));
  return readMessages(record?.messages);
}

/** The answers of a list of messages. */
export function readMessages(messages: unknown): Reading[] {
  const turns = toTurns(messages);
  if (turns === null) return unknownShape("{ messages: [{ role, content }] }");
  const readings = readExchanges(turns);
  return readings.length > 0 ? readings : problem("no_answer", "no assistant text with weight follows a user's text");
}

type Turns = ReturnType<typeof toTurns>;

function readPreference(context: Turns, preferred: Turns, rejected: Turns): Reading[] {
  if (context === null || preferred === null) return unknownShape("{ input: { messages }, preferred_output, non_preferred_output }");
  return readPair(lastQuestion(context), preferred.at(-1)?.text, rejected?.at(-1)?.text);
}

/** A question with an answer to imitate and one that was rated down; either may be missing. */
export function readPair(prompt: string | undefined, preferred: string | undefined, rejected: string | undefined): Reading[] {
  if (prompt === undefined) return problem("no_answer", "it has no question in text");
  const readings: Reading[] = [];
  if (preferred !== undefined) readings.push({ sample: { prompt, response: preferred } });
  if (rejected !== undefined) readings.push({ sample: { prompt, response: rejected, objective: "preference", rating: -1 } });
  return readings.length > 0 ? readings : problem("no_answer", "it has no answer in text");
}
