import type { FeedbackInput } from "../../types/index.js";
import { problem, type Reading, readPage } from "./reading.js";
import { asObject, asText } from "./record.js";

const MAX_SLUG = 64;

/**
 * Feedback in the shape of Veritas (`{ message_id, rating: -1 | 0 | 1, category, comment, user_id }`; `message_id` is the id of the generation) or of the
 * first CLARA's batches (`{ user_question, ai_response, feedback_score, user_rating?, area, source, importance, session_id? }`); null for anything else.
 * @example
 * ```ts
 * const feedback = toFeedback({ message_id: "gen-1", rating: 1, category: "helpful", user_id: "user-17" });
 * if (feedback) await clara.pipeline.addFeedback(feedback);
 * ```
 */
export function toFeedback(value: unknown): FeedbackInput | null {
  const record = asObject(value);
  if (!record) return null;
  if (idOf(record.message_id) !== undefined) return fromVeritas(record);
  return asText(record.user_question) !== undefined && asText(record.ai_response) !== undefined ? fromBatch(record) : null;
}

/** As `toFeedback`; a batch `{ items: [...] }` is read item by item. */
export function readVeritas(value: unknown): Reading[] {
  const items = asObject(value)?.items;
  if (Array.isArray(items)) return readPage(items, readVeritas);
  const feedback = toFeedback(value);
  if (feedback === null) return problem("shape_unknown", "it has neither message_id and rating, nor user_question and ai_response");
  return [{ feedback }];
}

function fromVeritas(record: Record<string, unknown>): FeedbackInput {
  const generationId = idOf(record.message_id);
  const subjectId = idOf(record.user_id);
  return given({
    generationId,
    ...textsOf(record.question, record.answer),
    rating: givenOf(record.rating),
    comment: asText(record.comment)?.slice(0, 1000),
    subjectId,
    source: "veritas",
    idempotencyKey: `veritas:${generationId}:${subjectId ?? ""}`.slice(0, 256),
    metadata: asText(record.category) === undefined ? undefined : { category: record.category },
  });
}

function fromBatch(record: Record<string, unknown>): FeedbackInput {
  const stars = givenOf(record.user_rating);
  return given({
    ...textsOf(record.user_question, record.ai_response),
    // One to five stars; three are neutral.
    rating: givenOf(record.feedback_score) ?? (typeof stars === "number" ? (stars - 3) / 2 : stars),
    correction: asText(record.correction),
    domain: slugOf(record.area),
    importance: givenOf(record.importance),
    subjectId: idOf(record.user_id),
    source: asText(record.source)?.slice(0, 64) ?? "import",
    metadata: asText(record.session_id) === undefined ? undefined : { session: record.session_id },
  });
}

function textsOf(prompt: unknown, response: unknown): Pick<FeedbackInput, "prompt" | "response"> {
  return { prompt: asText(prompt), response: asText(response) };
}

/** What is no number, or out of its bounds, stays as it is: whoever takes the feedback refuses it by name. */
function givenOf(value: unknown): unknown {
  return value ?? undefined;
}

/** Databases number people and messages; lost, nobody could be erased. */
function idOf(value: unknown): string | undefined {
  return typeof value === "number" ? String(value) : asText(value);
}

/** A domain that is named for people: "Bau & Planung" is `bau-planung`. */
function slugOf(value: unknown): string | undefined {
  const plain = asText(value)?.toLowerCase().replaceAll("ß", "ss").normalize("NFKD").replace(/\p{M}/gu, "") ?? "";
  const slug = plain.replace(/[^a-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "");
  return slug === "" ? undefined : slug.slice(0, MAX_SLUG);
}

/** Without what is undefined. */
function given(fields: Record<string, unknown>): FeedbackInput {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as FeedbackInput;
}
