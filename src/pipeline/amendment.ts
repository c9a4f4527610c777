import { ConflictError, NotFoundError } from "../errors.js";
import type { Store } from "../store/store.js";
import type { Metadata } from "../types/common.js";
import type { FeedbackInput } from "../types/feedback.js";

/** What of a feedback may be said anew; absent fields stay. */
export type FeedbackChange = Pick<FeedbackInput, "rating" | "correction" | "comment" | "importance">;

/** The feedback as it would have been given with the change. */
export async function amendedInput(store: Store, pipeline: string, id: string, change: FeedbackChange): Promise<FeedbackInput> {
  const row = await store.db.selectFrom("feedback").selectAll().where("id", "=", id).where("pipeline", "=", pipeline).executeTakeFirst();
  if (row === undefined)
    throw new NotFoundError("feedback_not_found", `There is no feedback "${id}" in this pipeline.`, { details: { id } });
  const state = row.erased_at === null ? row.status : "erased";
  if (row.prompt === null || row.response === null || !["accepted", "review"].includes(state)) {
    throw new ConflictError("input_invalid", `Feedback "${id}" cannot be changed: it is ${state}. Give a new one.`, {
      details: { id, state },
    });
  }
  return {
    prompt: row.prompt,
    response: row.response,
    rating: change.rating ?? row.rating,
    correction: change.correction ?? row.correction ?? undefined,
    comment: change.comment ?? row.comment ?? undefined,
    importance: change.importance ?? row.importance,
    subjectId: row.subject_id ?? undefined,
    domain: row.domain,
    source: row.source,
    metadata: row.metadata as Metadata,
  };
}
