import { readPair } from "./openai.js";
import { problem, type Reading, unknownShape } from "./reading.js";
import { asObject, asText } from "./record.js";

/**
 * An Alpaca row: `{ instruction, input?, output }`, with LLaMA-Factory's `history` (pairs of question and answer) and its preference shape `chosen`,
 * `rejected`. `input` follows the instruction on a new line.
 */
export function readAlpaca(value: unknown): Reading[] {
  const record = asObject(value);
  const instruction = asText(record?.instruction) ?? asText(record?.input);
  if (!record || instruction === undefined || !("output" in record || "chosen" in record))
    return unknownShape("{ instruction, input?, output }");
  const input = asText(record.instruction) === undefined ? undefined : asText(record.input);
  const prompt = input === undefined ? instruction : `${instruction}\n${input}`;
  const [preferred, rejected] = [asText(record.chosen) ?? asText(record.output), asText(record.rejected)];
  if (preferred === undefined && rejected === undefined) return problem("no_answer", "its output is empty");
  return [...historyOf(record.history), ...readPair(prompt, preferred, rejected)];
}

function historyOf(history: unknown): Reading[] {
  if (!Array.isArray(history)) return [];
  return history.flatMap((turn, index) => {
    const [prompt, response] = Array.isArray(turn) ? turn.map(asText) : [];
    if (prompt !== undefined && response !== undefined) return [{ sample: { prompt, response } }];
    return problem("no_answer", `history ${index + 1}: it is no pair of question and answer in text`);
  });
}
