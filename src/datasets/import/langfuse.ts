import { exchangesOf, lastQuestion, textOfContent, toTurn, toTurns } from "./conversation.js";
import { problem, type Reading, readPage, unknownShape } from "./reading.js";
import { asObject, asText } from "./record.js";
import { parseStrictJson } from "./strict-json.js";

/**
 * A row of a Langfuse export (JSON or JSONL, from its tables or its API): a dataset item `{ id, input, expectedOutput, status? }`, whose expected output is
 * imitated, or a trace or observation `{ id, input, output, userId?, scores? }`, which is feedback by its scores: booleans are thumbs, numbers count where
 * they are −1..1, several are averaged. A page of the API, `{ data: [...] }`, is read row by row.
 */
export function readLangfuse(value: unknown): Reading[] {
  const record = asObject(value);
  if (Array.isArray(record?.data)) return readPage(record.data, readLangfuse);
  if (!record || !("input" in record)) return unknownShape("{ input, expectedOutput } or { input, output, scores }");
  const prompt = questionOf(record.input);
  if (prompt === undefined) return problem("no_text", "its input has no text that a model could be asked");
  const id = asText(record.id);
  if ("expectedOutput" in record) {
    if (record.status === "ARCHIVED") return problem("no_signal", "the item is archived");
    const response = answerOf(record.expectedOutput);
    if (response === undefined) return problem("no_answer", "its expected output has no text");
    return [{ sample: { prompt, response, source: "langfuse", ...(id === undefined ? {} : { id }) } }];
  }
  const response = answerOf(record.output);
  if (response === undefined) return problem("no_answer", "its output has no text");
  const rating = ratingOf(record.scores);
  if (rating === undefined) return problem("no_signal", "it has neither an expected output nor a score of −1..1");
  const subjectId = asText(record.userId);
  const key = id === undefined ? {} : { idempotencyKey: `langfuse:${id}`.slice(0, 256) };
  return [{ feedback: { prompt, response, rating, source: "langfuse", ...(subjectId === undefined ? {} : { subjectId }), ...key } }];
}

/** Applications log what they like; these are the names under which a question or an answer usually stands. */
const QUESTION_KEYS = ["question", "query", "prompt", "input", "text", "content", "message"];
const ANSWER_KEYS = ["answer", "output", "response", "completion", "text", "content", "message"];

function questionOf(input: unknown): string | undefined {
  const value = parsedIfJson(input);
  const turns = toTurns(Array.isArray(value) ? value : asObject(value)?.messages);
  return turns ? lastQuestion(turns) : textUnder(value, QUESTION_KEYS);
}

function answerOf(output: unknown): string | undefined {
  const value = parsedIfJson(output);
  const turns = toTurns(Array.isArray(value) ? value : asObject(value)?.messages);
  if (turns) return exchangesOf(turns).at(-1)?.response ?? turns.findLast((turn) => turn.role === "assistant")?.text;
  return toTurn(value)?.text ?? textUnder(value, ANSWER_KEYS);
}

function textUnder(value: unknown, keys: readonly string[]): string | undefined {
  const record = asObject(value);
  if (!record) return textOfContent(value);
  for (const key of keys) {
    const text = textOfContent(record[key]);
    if (text !== undefined) return text;
  }
  return undefined;
}

/** Table exports hold objects and lists as JSON texts. */
function parsedIfJson(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  const parsed = parseStrictJson(value);
  return "value" in parsed ? parsed.value : value;
}

function ratingOf(scores: unknown): number | undefined {
  if (!Array.isArray(scores)) return undefined;
  const ratings = scores.flatMap((entry) => {
    const score = asObject(entry);
    if (typeof score?.value === "boolean") return [score.value ? 1 : -1];
    if (typeof score?.value !== "number" || Math.abs(score.value) > 1) return [];
    return [score.dataType === "BOOLEAN" ? (score.value === 1 ? 1 : -1) : score.value];
  });
  return ratings.length === 0 ? undefined : ratings.reduce((sum, rating) => sum + rating, 0) / ratings.length;
}
