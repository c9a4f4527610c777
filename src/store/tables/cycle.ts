import type { ColumnType, Generated } from "kysely";
import { sql } from "kysely";
import type { Migration } from "kysely/migration";

type Json<T> = ColumnType<T, string, string>;
type Timestamp = ColumnType<Date, Date | string, Date | string>;

/** One learning cycle; at most one that has not ended per pipeline and domain. */
export interface CycleTable {
  id: string;
  pipeline: string;
  domain: string;
  trigger: string;
  status: string;
  /** The stage to run next; null once ended. */
  stage: string | null;
  samples: number;
  dataset_id: string | null;
  job_id: string | null;
  adapter_id: string | null;
  /** What the stages hand on to each other. */
  state: Json<unknown>;
  evaluation: Json<unknown> | null;
  gate: Json<unknown> | null;
  error: Json<unknown> | null;
  /** The pipeline instance that drives it, until `lease_until`. */
  owner: string | null;
  lease_until: Timestamp | null;
  /** Attempts of the present stage that met a retryable error. */
  attempts: number;
  next_attempt_at: Timestamp | null;
  created_at: Timestamp;
  ended_at: Timestamp | null;
}

/** One stage of a cycle. */
export interface CycleStageTable {
  cycle_id: string;
  name: string;
  position: number;
  started_at: Timestamp;
  ended_at: Timestamp | null;
  detail: Json<unknown>;
}

/** The manifest: which sample a cycle learns from, or replays. */
export interface CycleSampleTable {
  cycle_id: string;
  sample_id: string;
  pipeline: string;
  /**
   * `learn`: claimed, at most one cycle that was not released; `replay`: an earlier cycle's sample, kept against forgetting; `test`: an earlier
   * cycle's held-out sample, asked again.
   */
  role: string;
  /** Set where the cycle ended without using the sample. */
  released_at: Timestamp | null;
  /** True: the evaluation did not show that the cycle's adapter knows it. */
  unlearnt: Generated<boolean>;
}

/** The general set: what must stay as it was. */
export interface GeneralItemTable {
  pipeline: string;
  position: number;
  half: string;
  prompt: string;
  /** Null until the base model has answered it. */
  response: string | null;
}

/** Tables of cycles; all live in the schema `clara`. */
export interface CycleTables {
  cycles: CycleTable;
  cycle_stages: CycleStageTable;
  cycle_samples: CycleSampleTable;
  general_items: GeneralItemTable;
}

/** In order; never edit one that was published, add the next. */
export const cycleMigrations: Record<string, Migration> = {
  "005-cycle": {
    async up(db) {
      const statements = [
        sql`create table clara.cycles (
          id text primary key, pipeline text not null, domain text not null, trigger text not null,
          status text not null check (status in ('running', 'waiting', 'promoted', 'rejected', 'inconclusive', 'failed', 'cancelled')),
          stage text, samples integer not null, dataset_id text, job_id text, adapter_id text,
          state jsonb not null, evaluation jsonb, gate jsonb, error jsonb,
          owner text, lease_until timestamptz, attempts integer not null default 0, next_attempt_at timestamptz,
          created_at timestamptz not null, ended_at timestamptz, unique (id, domain))`,
        // a cycle's samples are of its domain, and so of its tenant: no other way to learn from a sample is left
        sql`alter table clara.samples add constraint samples_cycle_domain foreign key (cycle_id, domain) references clara.cycles (id, domain)`,
        sql`create unique index cycles_one_open on clara.cycles (pipeline, domain) where ended_at is null`,
        sql`create index cycles_recent on clara.cycles (pipeline, domain, created_at desc)`,
        sql`create table clara.cycle_stages (
          cycle_id text not null references clara.cycles (id) on delete cascade, name text not null, position integer not null,
          started_at timestamptz not null, ended_at timestamptz, detail jsonb not null, primary key (cycle_id, name))`,
        sql`create table clara.cycle_samples (
          cycle_id text not null references clara.cycles (id) on delete cascade, sample_id text not null, pipeline text not null,
          role text not null check (role in ('learn', 'replay', 'test')), released_at timestamptz, unlearnt boolean not null default false, primary key (cycle_id, sample_id, role))`,
        sql`create unique index cycle_samples_once on clara.cycle_samples (pipeline, sample_id) where role = 'learn' and released_at is null`,
        // names: src/support/tenancy.ts
        sql`create function clara.refuse_foreign_samples() returns trigger language plpgsql as $$
          declare
            intruder record;
          begin
            select s.id as sample, s.domain as sample_domain, c.id as cycle, c.domain as cycle_domain, m.role into intruder
              from added m join clara.samples s on s.id = m.sample_id join clara.cycles c on c.id = m.cycle_id
              where case when m.role = 'test'
                then position('--' in s.domain) > 0 and not starts_with(c.domain, split_part(s.domain, '--', 1) || '--')
                else s.domain <> c.domain end
              limit 1;
            if intruder is not null then
              raise exception 'sample % of the domain % may not be a % sample of the cycle % of the domain %',
                intruder.sample, intruder.sample_domain, intruder.role, intruder.cycle, intruder.cycle_domain using errcode = 'check_violation';
            end if;
            return null;
          end $$`,
        sql`create trigger cycle_samples_of_own_tenant after insert on clara.cycle_samples
          referencing new table as added for each statement execute function clara.refuse_foreign_samples()`,
        sql`create table clara.general_items (
          pipeline text not null, position integer not null, half text not null check (half in ('replay', 'holdout')),
          prompt text not null, response text, primary key (pipeline, position))`,
      ];
      for (const statement of statements) await statement.execute(db);
    },
  },
};
