import type { z } from "zod";
import { ValidationError } from "../errors.js";
import type { FeedbackInput as FeedbackInputType } from "../types/feedback.js";
import { FeedbackInput } from "../types/feedback.js";

/** A feedback after its schema. */
export type ParsedFeedback = z.output<typeof FeedbackInput>;

/** Bytes of prompt, response and correction together. */
export const MAX_TEXT_BYTES = 1024 * 1024;
const MAX_METADATA_BYTES = 64 * 1024;

/**
 * Checks what the host handed over: sizes first, before anything walks through the text.
 * @throws ValidationError `payload_too_large`, `feedback_invalid`
 */
export function parseFeedback(input: FeedbackInputType): ParsedFeedback {
  if (typeof input !== "object" || input === null) throw invalid("the feedback is not an object");
  refuseLargeTexts([input.prompt, input.response, input.correction, input.comment]);
  if (input.metadata !== undefined) refuseLargeMetadata(input.metadata);
  const result = FeedbackInput.safeParse(input);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${issue?.path.join(".") || "feedback"}: ${issue?.message ?? "not valid"}`, { path: issue?.path.join(".") });
}

function refuseLargeTexts(texts: readonly unknown[]): void {
  let units = 0;
  for (const text of texts) if (typeof text === "string") units += text.length;
  // a UTF-16 unit is at most three bytes: only near the limit must bytes be counted
  let bytes = units;
  if (units <= MAX_TEXT_BYTES && units * 3 > MAX_TEXT_BYTES) {
    bytes = 0;
    for (const text of texts) if (typeof text === "string") bytes += Buffer.byteLength(text);
  }
  if (bytes <= MAX_TEXT_BYTES) return;
  throw new ValidationError(
    "payload_too_large",
    `The feedback's texts have ${bytes.toLocaleString("en")} bytes; ${MAX_TEXT_BYTES.toLocaleString("en")} are allowed. Shorten them.`,
    { details: { bytes, limit: MAX_TEXT_BYTES } },
  );
}

function refuseLargeMetadata(metadata: unknown): void {
  let bytes: number;
  try {
    bytes = Buffer.byteLength(JSON.stringify(metadata) ?? "");
  } catch (error) {
    throw invalid("metadata: it cannot be written as JSON", {}, error);
  }
  if (bytes > MAX_METADATA_BYTES) {
    throw new ValidationError("payload_too_large", `The feedback's metadata has ${bytes} bytes; ${MAX_METADATA_BYTES} are allowed.`, {
      details: { bytes, limit: MAX_METADATA_BYTES },
    });
  }
  if (depthOf(metadata) > 32) throw invalid("metadata: it is nested deeper than 32 levels");
}

function depthOf(root: unknown): number {
  let depth = 0;
  for (let level: unknown[] = [root]; level.length > 0; depth++) {
    level = level.flatMap((value) => (typeof value === "object" && value !== null ? Object.values(value) : []));
  }
  return depth;
}

function invalid(reason: string, details: Record<string, unknown> = {}, cause?: unknown): ValidationError {
  return new ValidationError("feedback_invalid", `The feedback was not accepted: ${reason}.`, { details, cause });
}
