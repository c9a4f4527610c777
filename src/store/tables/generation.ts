import type { ColumnType } from "kysely";
import { sql } from "kysely";
import type { Migration } from "kysely/migration";

type Timestamp = ColumnType<Date, Date | string, Date | string>;

/** One answer that was served, so that feedback can name it by its id. */
export interface GenerationTable {
  id: string;
  /** Null where texts are not stored. */
  prompt: string | null;
  response: string | null;
  /** SHA-256 of prompt and response, where only their hash is stored. */
  text_hash: string | null;
  adapter_id: string | null;
  model: string;
  domain: string | null;
  subject_id: string | null;
  /** The router's decision, for rewards. */
  decision_id: string | null;
  /** That decision whole, with its propensity, so that a change of policy can be judged before it is made. */
  decision: ColumnType<unknown, string | null, string | null>;
  prompt_tokens: number;
  completion_tokens: number;
  finish_reason: string;
  latency_ms: number;
  metadata: ColumnType<unknown, string, string>;
  created_at: Timestamp;
}

/** Tables of served generations; all live in the schema `clara`. */
export interface GenerationTables {
  generations: GenerationTable;
}

/** In order; never edit one that was published, add the next. */
export const generationMigrations: Record<string, Migration> = {
  "007-generation": {
    async up(db) {
      const statements = [
        sql`create table clara.generations (
          id text primary key, prompt text, response text, text_hash text, adapter_id text, model text not null, domain text,
          subject_id text, decision_id text, decision jsonb, prompt_tokens integer not null, completion_tokens integer not null,
          finish_reason text not null, latency_ms double precision not null,
          metadata jsonb not null, created_at timestamptz not null)`,
        sql`create index generations_created on clara.generations (created_at)`,
        sql`create index generations_adapter on clara.generations (adapter_id, created_at)`,
        sql`create index generations_explored on clara.generations (created_at) where (decision ->> 'propensity')::double precision < 1`,
        sql`create index generations_subject on clara.generations (subject_id) where subject_id is not null`,
      ];
      for (const statement of statements) await statement.execute(db);
    },
  },
};
