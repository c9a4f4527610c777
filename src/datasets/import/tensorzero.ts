import { lastQuestion, textOfContent, toTurns } from "./conversation.js";
import { readPair } from "./openai.js";
import { problem, type Reading, readPage, unknownShape } from "./reading.js";
import { asObject, asText } from "./record.js";
import { parseStrictJson } from "./strict-json.js";

/**
 * A TensorZero datapoint or stored inference: `{ function_name, input: { system?, messages }, output, dispreferred_outputs?, tags? }`. The output is a list of
 * content blocks (chat functions) or `{ raw, parsed }` (JSON functions); rows of its database hold both as JSON texts. What was dispreferred is a thumb down;
 * the tag `user_id` names the person. Pages of its API, `{ datapoints: [...] }` and `{ inferences: [...] }`, are read row by row.
 */
export function readTensorZero(value: unknown): Reading[] {
  const record = asObject(value);
  const page = record?.datapoints ?? record?.inferences;
  if (Array.isArray(page)) return readPage(page, readTensorZero);
  const turns = toTurns(asObject(parsedIfText(record?.input))?.messages);
  if (!record || turns === null) return unknownShape("{ function_name, input: { messages }, output }");
  const prompt = lastQuestion(turns);
  const preferred = outputOf(record.output);
  if (prompt === undefined || preferred === undefined) return problem("no_answer", "its last user message or its output has no text");
  const rejected = Array.isArray(record.dispreferred_outputs) ? record.dispreferred_outputs.map(outputOf) : [];
  const readings = [...readPair(prompt, preferred, rejected[0]), ...rejected.slice(1).flatMap((text) => readPair(prompt, undefined, text))];
  const subjectId = asText(asObject(parsedIfText(record.tags))?.user_id);
  return readings.map((reading) =>
    "sample" in reading
      ? { sample: { ...reading.sample, source: "tensorzero", ...(subjectId === undefined ? {} : { subjectId }) } }
      : reading,
  );
}

function outputOf(output: unknown): string | undefined {
  const value = parsedIfText(output);
  if (Array.isArray(value)) return textOfContent(value);
  const record = asObject(value);
  if (!record) return asText(value);
  return asText(record.raw) ?? (record.parsed === undefined || record.parsed === null ? undefined : JSON.stringify(record.parsed));
}

function parsedIfText(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  const parsed = parseStrictJson(value);
  return "value" in parsed ? parsed.value : value;
}
