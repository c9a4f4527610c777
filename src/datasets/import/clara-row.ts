import { DatasetItem } from "../../types/index.js";
import { SampleInput } from "../sample-input.js";
import { readMessages } from "./openai.js";
import { problem, type Reading, unknownShape } from "./reading.js";
import { asObject } from "./record.js";

const TEXTS = ["id", "prompt", "response", "objective", "domain", "source", "feedbackId", "subjectId"] as const;
const NUMBERS = ["rating", "importance", "qualityScore"] as const;

/**
 * A row as CLARA exports it; `prompt` and `response` are enough. With `split` and `group` it is a prepared row. A row that has only `messages` (Parquet) is
 * read as a conversation.
 */
export function readClaraRow(value: unknown): Reading[] {
  const record = asObject(value);
  if (!record) return unknownShape("{ prompt, response, … }");
  if (!isGiven(record.prompt) && !isGiven(record.response) && isGiven(record.messages)) return readMessages(record.messages);
  if (!isGiven(record.prompt) || !isGiven(record.response)) return unknownShape("{ prompt, response, … }");
  const fields: Record<string, unknown> = {};
  for (const name of TEXTS) if (isGiven(record[name])) fields[name] = record[name];
  // Cells of CSV are texts.
  for (const name of NUMBERS)
    if (isGiven(record[name])) fields[name] = typeof record[name] === "string" ? Number(record[name]) : record[name];
  const isPrepared = isGiven(record.split) && isGiven(record.group);
  const parsed = isPrepared
    ? DatasetItem.safeParse({ sample: fields, split: record.split, group: record.group })
    : SampleInput.safeParse(fields);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return problem("row_invalid", `${issue?.path.join(".") ?? "it"} is invalid: ${issue?.message}`);
  }
  return [isPrepared ? { item: parsed.data as DatasetItem } : { sample: parsed.data as SampleInput }];
}

/** Parquet and CSV give null for what is absent. */
function isGiven(value: unknown): boolean {
  return value !== null && value !== undefined;
}
