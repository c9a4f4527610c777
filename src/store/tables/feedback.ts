import type { ColumnType } from "kysely";
import { sql } from "kysely";
import type { Migration } from "kysely/migration";

type Json<T> = ColumnType<T, string, string>;
type Timestamp = ColumnType<Date, Date | string, Date | string>;

/** One report of an application's user, as it was received, with the verdict on it. */
export interface FeedbackTable {
  id: string;
  pipeline: string;
  /** `accepted`, `rejected`, `duplicate` or `review`. */
  status: string;
  reason: string | null;
  /** What decided, for example `quality`, `prompt_injection`, `cluster`, `trigger_probe`; null for what was accepted without a finding. */
  code: string | null;
  /** Findings of the firewall: code and reason each, never the text. */
  findings: Json<unknown>;
  /** Who decided a doubtful one. */
  reviewer: string | null;
  /** Pairs that are alike have the same key; null where it must not count. */
  sketch_key: string | null;
  sketch: ColumnType<unknown, string | null, string | null>;
  domain: string;
  /** Null after erasure, and where a line could not be read. */
  prompt: string | null;
  response: string | null;
  correction: string | null;
  comment: string | null;
  rating: number;
  importance: number;
  subject_id: string | null;
  source: string;
  idempotency_key: string | null;
  generation_id: string | null;
  /** SHA-256 of objective, prompt and answer after normalisation; null where it must not hold a place. */
  content_hash: string | null;
  duplicate_of: string | null;
  /** The feedback that this one is a new version of. */
  replaces: string | null;
  quality: Json<unknown>;
  metadata: Json<unknown>;
  created_at: Timestamp;
  decided_at: Timestamp | null;
  erased_at: Timestamp | null;
}

/** One training sample made of one accepted feedback; it has the feedback's id. */
export interface SampleTable {
  id: string;
  pipeline: string;
  domain: string;
  prompt: string;
  response: string;
  /** The rated answer that the correction replaces; material for preference training. */
  rejected_response: string | null;
  objective: string;
  rating: number;
  importance: number;
  subject_id: string | null;
  source: string;
  quality_score: number;
  /** `waiting`, `claimed`, `used`, `excluded`, `rejected_by_gate`, `quarantined` or `erased`. */
  state: string;
  state_reason: string | null;
  /** Cycles that claimed it. */
  attempts: number;
  cycle_id: string | null;
  created_at: Timestamp;
  state_changed_at: Timestamp;
  /** When it first helped an answer before an adapter knew it. */
  recalled_at: Timestamp | null;
}

/** One person's erasure: a tombstone that, once it is complete, has no name. */
export interface ErasureTable {
  id: string;
  pipeline: string;
  /** SHA-256 of the pipeline's name, the subject id and, where it is one tenant's alone, the tenant. */
  subject_hash: string;
  /** Whom it is about, until it is complete: what a crash interrupts is finished by itself. */
  subject_id: string | null;
  /** Whose texts alone are meant, until it is complete. */
  tenant: string | null;
  report: Json<unknown> | null;
  created_at: Timestamp;
  completed_at: Timestamp | null;
}

/** Tables of feedback, samples and erasures; all live in the schema `clara`. */
export interface FeedbackTables {
  feedback: FeedbackTable;
  samples: SampleTable;
  erasures: ErasureTable;
}

/** In order; never edit one that was published, add the next. */
export const feedbackMigrations: Record<string, Migration> = {
  "001-feedback": {
    async up(db) {
      const statements = [
        sql`create table clara.feedback (
          id text primary key, pipeline text not null, status text not null check (status in ('accepted', 'rejected', 'duplicate', 'review')),
          reason text, code text, findings jsonb not null default '[]', reviewer text, sketch_key text, sketch jsonb,
          domain text not null, prompt text, response text, correction text, comment text,
          rating double precision not null, importance integer not null, subject_id text, source text not null,
          idempotency_key text, generation_id text, content_hash text, duplicate_of text, replaces text,
          quality jsonb not null, metadata jsonb not null,
          created_at timestamptz not null, decided_at timestamptz, erased_at timestamptz)`,
        // the column that tells rows apart comes first: without fresh statistics the planner would read all of a pipeline
        sql`create unique index feedback_idempotency on clara.feedback (idempotency_key, pipeline) where idempotency_key is not null`,
        sql`create unique index feedback_content on clara.feedback (content_hash, pipeline)
          where content_hash is not null and status in ('accepted', 'review')`,
        sql`create index feedback_review on clara.feedback (pipeline, created_at) where status = 'review'`,
        sql`create index feedback_domain on clara.feedback (domain, pipeline, created_at)`,
        sql`create index feedback_subject on clara.feedback (subject_id, pipeline, created_at) where subject_id is not null`,
        sql`create index feedback_generation on clara.feedback (generation_id) where generation_id is not null`,
        sql`create index feedback_replaces on clara.feedback (replaces) where replaces is not null`,
        sql`create index feedback_sketch on clara.feedback (sketch_key, pipeline, created_at) where sketch_key is not null`,
        sql`create table clara.samples (
          id text primary key, pipeline text not null, domain text not null, prompt text not null, response text not null,
          rejected_response text, objective text not null check (objective in ('imitate', 'preference')),
          rating double precision not null, importance integer not null, subject_id text, source text not null,
          quality_score double precision not null,
          state text not null check (state in ('waiting', 'claimed', 'used', 'excluded', 'rejected_by_gate', 'quarantined', 'erased')),
          state_reason text, attempts integer not null default 0, cycle_id text,
          created_at timestamptz not null, state_changed_at timestamptz not null, recalled_at timestamptz)`,
        sql`create index samples_waiting on clara.samples (pipeline, domain, created_at) where state = 'waiting'`,
        sql`create index samples_state on clara.samples (pipeline, state, objective, domain)`,
        sql`create index samples_subject on clara.samples (pipeline, subject_id) where subject_id is not null`,
        sql`create table clara.erasures (
          id text primary key, pipeline text not null, subject_hash text not null, subject_id text, tenant text, report jsonb,
          created_at timestamptz not null, completed_at timestamptz)`,
      ];
      for (const statement of statements) await statement.execute(db);
    },
  },
};
