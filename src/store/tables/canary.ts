import { type ColumnType, type Generated, sql } from "kysely";
import type { Migration } from "kysely/migration";

type Timestamp = ColumnType<Date, Date | string, Date | string>;

/** A version on trial beside the one that serves its domain; at most one a domain that has not ended. */
export interface CanaryTable {
  id: string;
  domain: string;
  adapter_id: string;
  /** Null: the base model. */
  incumbent_id: string | null;
  share: number;
  slow_above_ms: number | null;
  status: "running" | "promoted" | "kept" | "rolled_back" | "superseded";
  reason: string | null;
  evidence: ColumnType<unknown, string | null, string | null>;
  /** Number of the last outcome; whoever adds outcomes locks the row by raising it, so that none is seen before an earlier one. */
  outcomes: Generated<string>;
  started_at: Timestamp;
  ends_by: Timestamp | null;
  ended_at: Timestamp | null;
}

/** One call or one rating of an arm; holds no text and no name. */
export interface CanaryOutcomeTable {
  canary_id: string;
  /** Position in the canary's sequence. */
  number: string;
  arm: "canary" | "incumbent";
  kind: "call" | "rating";
  /** What counts once: a call's generation, a rating's user as a hash. */
  unit: string;
  /** A rating's reward, 0..1; of a call its milliseconds, null where it failed. */
  value: number | null;
}

/** Tables of canaries; all live in the schema `clara`. */
export interface CanaryTables {
  canaries: CanaryTable;
  canary_outcomes: CanaryOutcomeTable;
}

/** In order; never edit one that was published, add the next. */
export const canaryMigrations: Record<string, Migration> = {
  "008-canary": {
    async up(db) {
      const statements = [
        sql`create table clara.canaries (
          id text primary key, domain text not null, adapter_id text not null references clara.adapters (id),
          incumbent_id text references clara.adapters (id), share double precision not null check (share > 0 and share < 1),
          slow_above_ms double precision,
          status text not null default 'running' check (status in ('running', 'promoted', 'kept', 'rolled_back', 'superseded')),
          reason text, evidence jsonb, outcomes bigint not null default 0,
          started_at timestamptz not null, ends_by timestamptz, ended_at timestamptz)`,
        sql`create unique index canaries_one_running on clara.canaries (domain) where ended_at is null`,
        sql`create index canaries_by_start on clara.canaries (started_at)`,
        sql`create table clara.canary_outcomes (
          canary_id text not null references clara.canaries (id) on delete cascade, number bigint not null,
          arm text not null check (arm in ('canary', 'incumbent')), kind text not null check (kind in ('call', 'rating')),
          unit text not null, value double precision,
          primary key (canary_id, number), unique (canary_id, kind, unit))`,
      ];
      for (const statement of statements) await statement.execute(db);
    },
  },
};
