import { type ColumnType, type Generated, sql } from "kysely";
import type { Migration } from "kysely/migration";

type Json<T> = ColumnType<T, string, string>;

/** One registered version; only its status columns change. */
export interface AdapterRow {
  /** `name@vN`. */
  id: string;
  name: string;
  version: number;
  domain: string;
  path: string;
  base_model: string;
  sha256: string | null;
  status: "candidate" | "canary" | "active" | "retired" | "rejected";
  /** Why it was rejected or withdrawn; with a reason it can never be active again. */
  revoked_reason: string | null;
  metrics: Json<Record<string, number>>;
  lineage: Json<Record<string, string>>;
  examples: Json<string[]>;
  metadata: Json<Record<string, unknown>>;
  created_at: Generated<Date>;
  /** When it last became active. */
  activated_at: Date | null;
}

/** Who answered for a domain, from when to when and why. */
export interface AdapterActivationRow {
  id: Generated<string>;
  domain: string;
  /** Null: the base model. */
  adapter_id: string | null;
  started_at: Date;
  /** Null: still. */
  ended_at: Date | null;
  reason: string;
  /** The period that a rollback returns to; null: the base model. */
  parent_id: string | null;
}

/** What the trainer recorded of a version; apart from it, because it is large and seldom asked for. */
export interface AdapterIdentityRow {
  adapter_id: string;
  identity: Json<Record<string, unknown>>;
}

/** Tables of the adapter room; all live in the schema `clara`. */
export interface AdapterTables {
  adapters: AdapterRow;
  adapter_identities: AdapterIdentityRow;
  adapter_activations: AdapterActivationRow;
}

/** In order; never edit one that was published, add the next. */
export const adapterMigrations: Record<string, Migration> = {
  "004-adapter": {
    async up(db) {
      await sql`create table clara.adapters (
        id text primary key,
        name text not null,
        version integer not null check (version >= 1),
        domain text not null,
        path text not null,
        base_model text not null,
        sha256 text,
        status text not null default 'candidate' check (status in ('candidate', 'canary', 'active', 'retired', 'rejected')),
        revoked_reason text,
        metrics jsonb not null default '{}',
        lineage jsonb not null default '{}',
        examples jsonb not null default '[]',
        metadata jsonb not null default '{}',
        created_at timestamptz not null default now(),
        activated_at timestamptz,
        unique (name, version),
        check (status <> 'active' or revoked_reason is null)
      )`.execute(db);
      await sql`create table clara.adapter_identities (
        adapter_id text primary key references clara.adapters (id) on delete cascade,
        identity jsonb not null
      )`.execute(db);
      await sql`create unique index adapters_one_active on clara.adapters (domain) where status = 'active'`.execute(db);
      await sql`create table clara.adapter_activations (
        id bigint generated always as identity primary key,
        domain text not null,
        adapter_id text references clara.adapters (id),
        started_at timestamptz not null,
        ended_at timestamptz,
        reason text not null,
        parent_id bigint references clara.adapter_activations (id)
      )`.execute(db);
      await sql`create unique index adapter_activations_one_open on clara.adapter_activations (domain) where ended_at is null`.execute(db);
      await sql`create index adapter_activations_by_domain on clara.adapter_activations (domain, id)`.execute(db);
    },
  },
};
