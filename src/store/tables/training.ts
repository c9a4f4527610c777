import type { ColumnType, Generated, JSONColumnType } from "kysely";
import { sql } from "kysely";
import type { Migration } from "kysely/migration";
import type { JobStatus, TrainerType } from "../../types/job.js";
import type { EvaluatedModel } from "../../types/runtime-protocol.js";

/**
 * One training or evaluation job. This row is the truth about the job; the queue message (`message_id`) only delivers it
 * and is written in the same transaction.
 */
export interface TrainingJobRow {
  id: string;
  /** `evaluate` rows share the queue and its limit; people do not see them in lists. */
  kind: "train" | "evaluate";
  dataset_id: string | null;
  config_name: string;
  version: number;
  adapter_name: string;
  trainer: TrainerType;
  priority: number;
  status: JobStatus;
  /** What a person asked of a running job; its worker obeys within a second. */
  request: "cancel" | "pause" | null;
  idempotency_key: string | null;
  created_by: string | null;
  /** The caller's input. `json`, not `jsonb`: texts may hold U+0000. */
  input: JSONColumnType<object, string, string>;
  /** Times a worker began it. */
  attempt: Generated<number>;
  /** Retryable failures since it was last queued by a person. */
  failures: Generated<number>;
  /** Times it was put back because no runtime answered, since one last did. */
  waits: Generated<number>;
  /** Times its worker vanished while running it, since it was last queued by a person. */
  lost_workers: Generated<number>;
  /** Names one worker's claim: writes that carry another token change nothing. */
  claim_token: string | null;
  claimed_by: string | null;
  /** The queue message that delivers it now. */
  message_id: string | null;
  phase: string | null;
  step: Generated<number>;
  total_steps: Generated<number>;
  current_epoch: Generated<number>;
  total_epochs: Generated<number>;
  progress_percent: Generated<number>;
  eta_seconds: number | null;
  metrics: ColumnType<Record<string, number>, string | undefined, string>;
  adapter_path: string | null;
  result: ColumnType<object | null, string | null | undefined, string | null>;
  evaluation: ColumnType<EvaluatedModel[] | null, string | null | undefined, string | null>;
  error: ColumnType<{ code: string; message: string } | null, string | null | undefined, string | null>;
  /** Sequence of the newest event. */
  last_sequence: Generated<number>;
  /** Last event of the runtime that was written down, so that a new worker goes on after it. */
  runtime_sequence: Generated<number>;
  created_at: Generated<Date>;
  updated_at: Generated<Date>;
  started_at: Date | null;
  completed_at: Date | null;
}

export interface TrainingJobEventRow {
  job_id: string;
  sequence: number;
  /** A `JobEvent`. */
  event: JSONColumnType<object, string, string>;
  created_at: Generated<Date>;
}

/** Versions outlive the jobs that took them, so that a name is never given twice. */
export interface TrainingVersionRow {
  config_name: string;
  last_version: number;
}

/** Tables of the training room; all live in the schema `clara`. */
export interface TrainingTables {
  training_jobs: TrainingJobRow;
  training_job_events: TrainingJobEventRow;
  training_versions: TrainingVersionRow;
}

/** In order; never edit one that was published, add the next. */
export const trainingMigrations: Record<string, Migration> = {
  "003-training": {
    async up(db) {
      await db.schema
        .createTable("training_jobs")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("kind", "text", (column) => column.notNull())
        .addColumn("dataset_id", "text")
        .addColumn("config_name", "text", (column) => column.notNull())
        .addColumn("version", "integer", (column) => column.notNull())
        .addColumn("adapter_name", "text", (column) => column.notNull())
        .addColumn("trainer", "text", (column) => column.notNull())
        .addColumn("priority", "integer", (column) => column.notNull())
        .addColumn("status", "text", (column) => column.notNull())
        .addColumn("request", "text")
        .addColumn("idempotency_key", "text", (column) => column.unique())
        .addColumn("created_by", "text")
        .addColumn("input", "json", (column) => column.notNull())
        .addColumn("attempt", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("failures", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("waits", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("lost_workers", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("claim_token", "text")
        .addColumn("claimed_by", "text")
        .addColumn("message_id", "text")
        .addColumn("phase", "text")
        .addColumn("step", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("total_steps", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("current_epoch", "double precision", (column) => column.notNull().defaultTo(0))
        .addColumn("total_epochs", "double precision", (column) => column.notNull().defaultTo(0))
        .addColumn("progress_percent", "double precision", (column) => column.notNull().defaultTo(0))
        .addColumn("eta_seconds", "double precision")
        .addColumn("metrics", "json", (column) => column.notNull().defaultTo("{}"))
        .addColumn("adapter_path", "text")
        .addColumn("result", "json")
        .addColumn("evaluation", "json")
        .addColumn("error", "json")
        .addColumn("last_sequence", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("runtime_sequence", "integer", (column) => column.notNull().defaultTo(0))
        .addColumn("created_at", "timestamptz", (column) => column.notNull().defaultTo(sql`now()`))
        .addColumn("updated_at", "timestamptz", (column) => column.notNull().defaultTo(sql`now()`))
        .addColumn("started_at", "timestamptz")
        .addColumn("completed_at", "timestamptz")
        .execute();
      await db.schema.createIndex("training_jobs_by_status").on("training_jobs").columns(["status", "created_at"]).execute();
      await db.schema
        .createIndex("training_jobs_adapter_name")
        .unique()
        .on("training_jobs")
        .columns(["config_name", "version"])
        .where(sql.ref("kind"), "=", "train")
        .execute();
      await db.schema
        .createTable("training_job_events")
        .addColumn("job_id", "text", (column) => column.notNull().references("training_jobs.id").onDelete("cascade"))
        .addColumn("sequence", "integer", (column) => column.notNull())
        .addColumn("event", "json", (column) => column.notNull())
        .addColumn("created_at", "timestamptz", (column) => column.notNull().defaultTo(sql`now()`))
        .addPrimaryKeyConstraint("training_job_events_pkey", ["job_id", "sequence"])
        .execute();
      await db.schema
        .createTable("training_versions")
        .addColumn("config_name", "text", (column) => column.primaryKey())
        .addColumn("last_version", "integer", (column) => column.notNull())
        .execute();
    },
  },
};
