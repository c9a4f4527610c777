import { sql } from "kysely";
import { ConflictError, NotFoundError, ValidationError } from "../errors.js";
import type { Executor, Store } from "../store/store.js";
import type { Metadata } from "../types/common.js";
import { FeedbackChange, type FeedbackInput } from "../types/feedback.js";

/** True of a row of `clara.feedback` that counts, or counted until the next version took its place. */
export const isVersion = sql<boolean>`(status in ('accepted', 'review') or code = 'replaced') and erased_at is null`;

/** A feedback as it would have been given with a change. */
export interface Amendment {
  input: FeedbackInput;
  /** The version that it takes the place of; undefined where nothing of it is changed. */
  replaces: string | undefined;
}

/**
 * The present version of a feedback, with the change: whoever knows the first id only changes what it has become.
 * @throws ValidationError `input_invalid`; NotFoundError `feedback_not_found`; ConflictError `input_invalid`
 */
export async function amendmentOf(store: Store, pipeline: string, id: string, change: FeedbackChange): Promise<Amendment> {
  const checked = parseChange(change);
  const row = await store.db
    .selectFrom("feedback")
    .selectAll()
    .where("id", "=", await presentVersion(store.db, pipeline, id))
    .where("pipeline", "=", pipeline)
    .executeTakeFirst();
  if (row === undefined)
    throw new NotFoundError("feedback_not_found", `There is no feedback "${id}" in this pipeline.`, { details: { id } });
  const state = row.erased_at === null ? row.status : "erased";
  if (row.prompt === null || row.response === null || !["accepted", "review"].includes(state)) {
    throw new ConflictError("input_invalid", `Feedback "${id}" cannot be changed: it is ${state}. Give a new one.`, {
      details: { id, state },
    });
  }
  const said = {
    rating: row.rating,
    correction: row.correction ?? undefined,
    comment: row.comment ?? undefined,
    importance: row.importance,
  };
  const now = { ...said, ...checked };
  if (now.correction?.trim() === "") now.correction = undefined;
  const isChanged = (Object.keys(now) as (keyof FeedbackChange)[]).some((field) => now[field] !== said[field]);
  return {
    input: {
      ...now,
      prompt: row.prompt,
      response: row.response,
      subjectId: row.subject_id ?? undefined,
      domain: row.domain,
      source: row.source,
      metadata: row.metadata as Metadata,
    },
    replaces: isChanged ? row.id : undefined,
  };
}

/** A version and all before it, whose place it took. */
export function versionsUpTo(ids: readonly string[]) {
  return sql<{ version: string; id: string }>`
    with recursive versions as (
      select id as version, id, replaces from clara.feedback where id = any(${[...ids]}::text[])
      union select versions.version, earlier.id, earlier.replaces from versions join clara.feedback earlier on earlier.id = versions.replaces)
    select version, id from versions`;
}

/** The refusal of a change to what was changed at the same moment. */
export function changedMeanwhile(id: string, replacedBy: string): ConflictError {
  return new ConflictError(
    "input_invalid",
    `Feedback "${id}" was changed at the same moment: it is "${replacedBy}" now. Change that one.`,
    {
      details: { id, replacedBy },
      isRetryable: true,
    },
  );
}

/** True where another change came first, so that the present version is another one. */
export function isChangedMeanwhile(error: unknown): boolean {
  return error instanceof ConflictError && error.details?.replacedBy !== undefined;
}

async function presentVersion(db: Executor, pipeline: string, id: string): Promise<string> {
  const { rows } = await sql<{ id: string }>`
    with recursive versions as (
      select id, 0 as step from clara.feedback where id = ${id} and pipeline = ${pipeline}
      union all
      select next.id, versions.step + 1 from versions
      join (select id, replaces from clara.feedback where pipeline = ${pipeline} and ${isVersion}) next on next.replaces = versions.id)
    select id from versions order by step desc limit 1`.execute(db);
  return rows[0]?.id ?? id;
}

function parseChange(change: FeedbackChange): FeedbackChange {
  const parsed = FeedbackChange.safeParse(change);
  if (parsed.success) return Object.fromEntries(Object.entries(parsed.data).filter(([, value]) => value !== undefined));
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  throw new ValidationError(
    "input_invalid",
    `The change is invalid${field === "" ? "" : ` at ${field}`}: ${issue?.message}. Nothing was changed.`,
    {
      details: { field },
    },
  );
}
