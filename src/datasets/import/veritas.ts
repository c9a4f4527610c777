import { type FeedbackInput, Slug } from "../../types/index.js";
import { problem, type Reading } from "./reading.js";
import { asObject, asText } from "./record.js";

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
  if (asText(record.message_id) !== undefined) return fromVeritas(record);
  return asText(record.user_question) !== undefined && asText(record.ai_response) !== undefined ? fromBatch(record) : null;
}

/** As `toFeedback`; a batch `{ items: [...] }` is read item by item. */
export function readVeritas(value: unknown): Reading[] {
  const items = asObject(value)?.items;
  if (Array.isArray(items)) return items.flatMap(readVeritas);
  const feedback = toFeedback(value);
  if (feedback === null) return problem("shape_unknown", "it has neither message_id and rating, nor user_question and ai_response");
  return [{ feedback }];
}

function fromVeritas(record: Record<string, unknown>): FeedbackInput {
  const generationId = asText(record.message_id);
  const subjectId = asText(record.user_id);
  return given({
    generationId,
    ...textsOf(record.question, record.answer),
    rating: numberOf(record.rating),
    comment: asText(record.comment)?.slice(0, 1000),
    subjectId,
    source: "veritas",
    idempotencyKey: `veritas:${generationId}:${subjectId ?? ""}`.slice(0, 256),
    metadata: asText(record.category) === undefined ? undefined : { category: record.category },
  });
}

function fromBatch(record: Record<string, unknown>): FeedbackInput {
  const stars = numberOf(record.user_rating);
  const area = Slug.safeParse(asText(record.area)?.toLowerCase());
  return given({
    ...textsOf(record.user_question, record.ai_response),
    // One to five stars; three are neutral.
    rating: numberOf(record.feedback_score) ?? (stars === undefined ? undefined : (stars - 3) / 2),
    correction: asText(record.correction),
    domain: area.success ? area.data : undefined,
    importance: numberOf(record.importance),
    subjectId: asText(record.user_id),
    source: asText(record.source)?.slice(0, 64) ?? "import",
    metadata: asText(record.session_id) === undefined ? undefined : { session: record.session_id },
  });
}

function textsOf(prompt: unknown, response: unknown): Pick<FeedbackInput, "prompt" | "response"> {
  return { prompt: asText(prompt), response: asText(response) };
}

/** A number out of its bounds stays as it is: whoever takes the feedback refuses it by name. */
function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

/** Without what is undefined. */
function given(fields: Record<string, unknown>): FeedbackInput {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as FeedbackInput;
}
