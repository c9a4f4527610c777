import type { ColumnType, Kysely } from "kysely";
import { sql } from "kysely";
import type { Migration } from "kysely/migration";
import type { DatasetLineage, DatasetStatistics, Sample, SplitName } from "../../types/index.js";

/** A JSON column: an object when read, a JSON text when written. */
type Json<T> = ColumnType<T, string, string>;

/** One immutable version of a dataset; `deleted_at` marks a tombstone, whose items are gone. */
export interface DatasetTable {
  id: string;
  name: string;
  version: number;
  content_hash: string;
  description: string | null;
  domain: string | null;
  item_count: number;
  splits: Json<Record<SplitName, number>>;
  quality: number;
  statistics: Json<DatasetStatistics>;
  /** Options and report of the preparation that made it; null for rows that were given prepared. */
  preparation: ColumnType<Record<string, unknown> | null, string | null, never>;
  lineage: Json<DatasetLineage>;
  created_at: ColumnType<Date, never, never>;
  deleted_at: ColumnType<Date | null, never, Date>;
  delete_reason: ColumnType<string | null, never, string | null>;
  /** Set when rows of an erased person were taken out; the content hash then describes what was trained on, not what is left. */
  redacted_at: ColumnType<Date | null, never, Date>;
}

/** One row of a dataset, in the dataset's order. */
export interface DatasetItemTable {
  dataset_id: string;
  position: number;
  sample_id: string;
  feedback_id: string | null;
  subject_id: string | null;
  split: SplitName;
  group_key: string;
  sample: Json<Sample>;
}

/** Tables of the dataset room; all live in the schema `clara`. */
export interface DatasetTables {
  dataset: DatasetTable;
  dataset_item: DatasetItemTable;
}

/** In order; never edit one that was published, add the next. */
export const datasetMigrations: Record<string, Migration> = {
  "002-dataset": {
    async up(db: Kysely<unknown>): Promise<void> {
      await sql`
        create table clara.dataset (
          id text primary key,
          name text not null,
          version integer not null check (version >= 1),
          content_hash text not null,
          description text,
          domain text,
          item_count integer not null check (item_count >= 1),
          splits jsonb not null,
          quality double precision not null,
          statistics jsonb not null,
          preparation jsonb,
          lineage jsonb not null,
          created_at timestamptz not null default now(),
          deleted_at timestamptz,
          redacted_at timestamptz,
          unique (name, version)
        )`.execute(db);
      await sql`create unique index dataset_content on clara.dataset (name, content_hash) where deleted_at is null`.execute(db);
      await sql`create index dataset_recent on clara.dataset (created_at desc, id) where deleted_at is null`.execute(db);
      await sql`
        create table clara.dataset_item (
          dataset_id text not null references clara.dataset (id),
          position integer not null,
          sample_id text not null,
          feedback_id text,
          subject_id text,
          split text not null check (split in ('train', 'recall', 'generalisation', 'preference')),
          group_key text not null,
          sample jsonb not null,
          primary key (dataset_id, position)
        )`.execute(db);
      await sql`create index dataset_item_subject on clara.dataset_item (subject_id) where subject_id is not null`.execute(db);
      await sql`create index dataset_item_feedback on clara.dataset_item (feedback_id) where feedback_id is not null`.execute(db);
    },
  },
  "009-dataset-tombstone": {
    async up(db: Kysely<unknown>): Promise<void> {
      await sql`alter table clara.dataset add column delete_reason text`.execute(db);
      // Two datasets are compared by reading both in the order of their sample ids; "C" is the order of bytes.
      await sql`create index dataset_item_sample on clara.dataset_item (dataset_id, sample_id collate "C", position)`.execute(db);
    },
  },
};
