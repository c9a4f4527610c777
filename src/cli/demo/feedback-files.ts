import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ValidationError } from "../../errors.js";
import { packageFolder } from "../../runtime/package-folder.js";
import type { Question } from "./ask.js";
import type { GeneralPairs } from "./settings.js";

/** Path of a file in `examples/data`. */
export function exampleData(name: string): string {
  return join(packageFolder(), "examples", "data", name);
}

function jsonLines<T>(path: string): T[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line) as T);
}

/** Everyday questions with the answers that the tiny base gives. */
export function generalPairs(): GeneralPairs {
  const rows = jsonLines<{ prompt: string; response: string; use: "replay" | "holdout" }>(exampleData("general.jsonl"));
  const only = (use: string) => rows.filter((row) => row.use === use).map(({ prompt, response }) => ({ prompt, response }));
  return { replay: only("replay"), holdout: only("holdout") };
}

/** Paraphrases of the example facts that no example feedback tells. */
export function exampleQuestions(): Question[] {
  return jsonLines<Question>(exampleData("questions.jsonl"));
}

/** Bytes of a feedback file; a clear error where it cannot be read or holds nothing. */
export function readFeedbackFile(path: string): Buffer {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (cause) {
    throw new ValidationError("input_invalid", `The feedback file ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  if (content.every((byte) => byte <= 0x20)) {
    throw new ValidationError("input_invalid", `The feedback file ${path} is empty: give one JSON object a line.`);
  }
  return content;
}

/** Corrections asked again at once: some show whether the memory helps. */
const MOST_CORRECTED = 40;

/** Questions of the files that a user corrected, with the newest correction, evenly over the files' lines; those that cannot be read are left out. */
export function correctedQuestions(files: readonly Buffer[]): Question[] {
  const newest = new Map<string, Question>();
  for (const line of files.flatMap((file) => file.toString("utf8").split("\n"))) {
    const question = correctedQuestion(line);
    if (question !== null) newest.set(question.prompt, question);
  }
  const questions = [...newest.values()];
  const step = Math.max(1, Math.ceil(questions.length / MOST_CORRECTED));
  return questions.filter((_, index) => index % step === 0);
}

function correctedQuestion(line: string): Question | null {
  try {
    const { prompt, correction, domain } = JSON.parse(line) as Record<string, unknown>;
    if (typeof prompt !== "string" || typeof correction !== "string") return null;
    return { prompt, answer: correction, domain: typeof domain === "string" ? domain : null };
  } catch {
    return null; // the import names the lines that are no JSON
  }
}

/** Lines of the largest domain, counted as far as lines can be read; the pipeline judges them later. */
export function largestDomain(files: readonly Buffer[]): number {
  const counts = new Map<string, number>();
  for (const line of files.flatMap((file) => file.toString("utf8").split("\n"))) {
    const domain = /"domain"\s*:\s*"([^"]*)"/.exec(line)?.[1] ?? "";
    if (line.trim() !== "") counts.set(domain, (counts.get(domain) ?? 0) + 1);
  }
  return Math.max(...counts.values());
}
