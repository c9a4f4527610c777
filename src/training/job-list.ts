import { ValidationError } from "../errors.js";
import type { Executor } from "../store/store.js";
import type { JobStatus, TrainerType, TrainingJob } from "../types/job.js";
import { jobView, VIEW_COLUMNS } from "./job-view.js";
import { jobNotFound } from "./watch-job.js";

/** Which jobs to list; every field narrows. */
export interface JobFilter {
  status?: JobStatus | readonly JobStatus[];
  trainer?: TrainerType;
  configName?: string;
  datasetId?: string;
  createdBy?: string;
  /** 1..1000, default 100. */
  limit?: number;
  /** Default 0. */
  offset?: number;
}

/** The job of any kind. */
export async function findJob(executor: Executor, id: string, kind?: "train" | "evaluate"): Promise<TrainingJob> {
  let query = executor.selectFrom("training_jobs").select(VIEW_COLUMNS).where("id", "=", id);
  if (kind !== undefined) query = query.where("kind", "=", kind);
  const row = await query.executeTakeFirst();
  if (row === undefined) throw jobNotFound(id);
  return jobView(row);
}

/** The job of an idempotency key. */
export async function findJobByKey(executor: Executor, key: string | undefined): Promise<TrainingJob | null> {
  if (key === undefined) return null;
  const row = await executor.selectFrom("training_jobs").select(VIEW_COLUMNS).where("idempotency_key", "=", key).executeTakeFirst();
  return row === undefined ? null : jobView(row);
}

/** Training jobs that the filter finds, newest first. */
export async function listJobs(executor: Executor, filter: JobFilter): Promise<TrainingJob[]> {
  const { limit = 100, offset = 0 } = filter;
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000 || !Number.isInteger(offset) || offset < 0) {
    throw new ValidationError("input_invalid", "limit must be 1..1000 and offset 0 or more.", { details: { limit, offset } });
  }
  const rows = await filtered(executor, filter).orderBy("created_at", "desc").orderBy("id").limit(limit).offset(offset).execute();
  return rows.map(jobView);
}

/** How many training jobs the filter finds. */
export async function countJobs(executor: Executor, filter: JobFilter): Promise<number> {
  const { count } = await filtered(executor, filter)
    .clearSelect()
    .select((expression) => expression.fn.countAll().as("count"))
    .executeTakeFirstOrThrow();
  return Number(count);
}

function filtered(executor: Executor, filter: JobFilter) {
  let query = executor.selectFrom("training_jobs").select(VIEW_COLUMNS).where("kind", "=", "train");
  if (filter.status !== undefined) query = query.where("status", "in", typeof filter.status === "string" ? [filter.status] : filter.status);
  if (filter.trainer !== undefined) query = query.where("trainer", "=", filter.trainer);
  if (filter.configName !== undefined) query = query.where("config_name", "=", filter.configName);
  if (filter.datasetId !== undefined) query = query.where("dataset_id", "=", filter.datasetId);
  if (filter.createdBy !== undefined) query = query.where("created_by", "=", filter.createdBy);
  return query;
}
