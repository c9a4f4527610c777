import { z } from "zod";
import { ValidationError } from "../errors.js";
import { MAX_TEXT_BYTES } from "./feedback-input.js";
import { storableText } from "./storable-text.js";

const MAX_NAME_CHARACTERS = 256;

/** A person's decision. */
export interface ReviewDecision {
  decision: "approve" | "reject";
  /** What is learnt instead: the right answer, or question and answer. */
  edited?: string | { prompt?: string; response?: string };
  /** Who decides; kept with the time. */
  reviewer?: string;
}

/** A decision that can be carried out. */
export interface CheckedDecision {
  isApproved: boolean;
  edited: { prompt?: string; response?: string };
  isEdited: boolean;
  reviewer: string | null;
}

const Decision = z.strictObject({
  decision: z.enum(["approve", "reject"]),
  edited: z.union([z.string(), z.strictObject({ prompt: z.string().optional(), response: z.string().optional() })]).optional(),
  reviewer: z.string().optional(),
});

/** Which doubtful feedback is listed. */
export interface ReviewFilter {
  domain?: string;
  /** What made it doubtful. */
  code?: string;
  /** Default 100; 1,000 at most are given. */
  limit?: number;
  offset?: number;
}

const Filter = z.strictObject({
  signal: z.unknown().optional(),
  domain: z.string().optional(),
  code: z.string().optional(),
  limit: z.number().int().min(0).default(100),
  offset: z.number().int().min(0).default(0),
});

/** A misspelt filter would list everything, and a decision on all that is listed would go too far. @throws ValidationError `input_invalid` */
export function parseReviewFilter(filter: ReviewFilter): z.output<typeof Filter> {
  const parsed = Filter.safeParse(filter);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  throw new ValidationError("input_invalid", `The filter is invalid at ${field || "its root"}: ${issue?.message}.`, { details: { field } });
}

/** Nothing but the word "approve" lets feedback through. @throws ValidationError `input_invalid`, `feedback_invalid`, `payload_too_large` */
export function parseDecision(decision: ReviewDecision): CheckedDecision {
  const parsed = Decision.safeParse(decision);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join(".") ?? "";
    const message = `The decision is invalid at ${field || "its root"}: ${issue?.message}. Nothing was decided; give { decision: "approve" } or { decision: "reject" }.`;
    throw new ValidationError("input_invalid", message, { details: { field } });
  }
  const { edited, reviewer } = parsed.data;
  return {
    isApproved: parsed.data.decision === "approve",
    edited: editedTexts(edited),
    isEdited: edited !== undefined,
    reviewer: reviewer === undefined ? null : storableText(reviewer).slice(0, MAX_NAME_CHARACTERS),
  };
}

function editedTexts(edited: ReviewDecision["edited"]): CheckedDecision["edited"] {
  const texts = typeof edited === "string" ? { response: edited } : (edited ?? {});
  const clean: CheckedDecision["edited"] = {};
  for (const key of ["prompt", "response"] as const) {
    const text = texts[key];
    if (text === undefined) continue;
    if (text.length > MAX_TEXT_BYTES) {
      throw new ValidationError("payload_too_large", `The edited ${key} has ${text.length} characters; ${MAX_TEXT_BYTES} are allowed.`);
    }
    if (text.trim() === "") throw new ValidationError("feedback_invalid", `The edited ${key} is empty; give a text or leave it out.`);
    clean[key] = storableText(text);
  }
  return clean;
}
