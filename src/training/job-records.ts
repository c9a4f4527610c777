import { type Selectable, sql, type Updateable } from "kysely";
import type { Executor } from "../store/store.js";
import type { TrainingJobRow } from "../store/tables/training.js";
import type { JobStatus } from "../types/job.js";
import { appendEvents, type NewJobEvent, statusEvent } from "./job-events.js";
import { notifyOfJob } from "./job-notifier.js";
import { lockQueue } from "./job-queue.js";

export type JobRow = Selectable<TrainingJobRow>;

/**
 * The row, locked until the transaction ends. Whoever touches a row and its message takes the queue's lock first: a worker
 * that claims locks the message before the row, everybody else the row before the message.
 */
export async function lockJob(executor: Executor, id: string): Promise<JobRow | undefined> {
  await lockQueue(executor);
  return executor.selectFrom("training_jobs").selectAll().where("id", "=", id).forUpdate().executeTakeFirst();
}

/**
 * Changes the job and writes the events that tell of it, the status last. With `claimToken` only while that claim holds.
 * Undefined where the row was not as expected: nothing was changed then.
 */
export async function changeJob(
  executor: Executor,
  job: { id: string; from: readonly JobStatus[]; claimToken?: string },
  patch: Updateable<TrainingJobRow>,
  events: readonly NewJobEvent[] = [],
): Promise<JobRow | undefined> {
  let update = executor
    .updateTable("training_jobs")
    .set({ ...patch, updated_at: sql<Date>`now()`, last_sequence: sql<number>`last_sequence + ${events.length + 1}` })
    .where("id", "=", job.id)
    .where("status", "in", job.from);
  if (job.claimToken !== undefined) update = update.where("claim_token", "=", job.claimToken);
  const row = await update.returningAll().executeTakeFirst();
  if (row === undefined) return undefined;
  await appendEvents(executor, row.id, row.last_sequence, [...events, statusEvent(row)]);
  await notifyOfJob(executor, row.id);
  return row;
}

/** The next version of a configuration, at least `from`; taken for good, also when its job fails. */
export async function takeVersion(executor: Executor, configName: string, from = 1): Promise<number> {
  const { last_version } = await executor
    .insertInto("training_versions")
    .values({ config_name: configName, last_version: from })
    .onConflict((conflict) =>
      conflict.column("config_name").doUpdateSet({ last_version: sql<number>`greatest(training_versions.last_version + 1, ${from})` }),
    )
    .returning("last_version")
    .executeTakeFirstOrThrow();
  return last_version;
}

/** What a job starts (again) from. */
export const FRESH_RUN = {
  request: null,
  claim_token: null,
  claimed_by: null,
  failures: 0,
  waits: 0,
  lost_workers: 0,
  error: null,
  eta_seconds: null,
  phase: null,
  completed_at: null,
} as const satisfies Updateable<TrainingJobRow>;
