import type { ColumnType, Generated, Kysely } from "kysely";
import { sql } from "kysely";
import type { Migration } from "kysely/migration";

/** An embedder whose vectors are stored; a change of its name or its dimensions is a new row. */
export interface CorpusEmbedderTable {
  id: Generated<number>;
  name: string;
  dimensions: number;
}

/** A document as it was added; its text lives in its chunks. */
export interface CorpusDocumentTable {
  id: string;
  /** SHA-256 over tenant, domain and normalised text. */
  content_hash: string;
  /** SHA-256 over all else that was said of it. */
  attributes_hash: string;
  /** Null: everybody's. */
  tenant: string | null;
  chunk_count: number;
  created_at: ColumnType<Date, never, never>;
}

/** A searchable piece of a document, with what the filters ask for. */
export interface CorpusChunkTable {
  id: string;
  document_id: string;
  position: number;
  content: string;
  title: string | null;
  document_type: string | null;
  /** Of the document; null: everybody's. */
  tenant: string | null;
  domain: string;
  /** Text search configuration: english, german or simple. */
  language: string;
  source: string;
  date: Date | null;
  quality: number;
  metadata: ColumnType<Record<string, unknown>, string, string>;
  embedder_id: number | null;
  /** Unit length; null where the text had no direction, or no embedder was given. */
  embedding: number[] | null;
  /** Name of what found the entities and relations that it speaks of; null where nobody looked. */
  extractor: string | null;
}

/** A thing that texts speak of, whatever their domain. */
export interface CorpusEntityTable {
  id: Generated<number>;
  /** Without case and punctuation. */
  name: string;
  /** As the first text wrote it. */
  label: string;
  kind: string;
}

/** A chunk speaks of an entity. */
export interface CorpusMentionTable {
  entity_id: number;
  chunk_id: string;
  /** How much, 0..1. */
  weight: number;
}

/** A chunk connects two entities. */
export interface CorpusRelationTable {
  from_entity: number;
  to_entity: number;
  kind: string;
  weight: number;
  chunk_id: string;
}

/** How searches of a tenant in a domain fuse their legs, as tuning found it; empty: of everybody, in every domain. */
export interface CorpusSearchSettingsTable {
  tenant: string;
  domain: string;
  settings: ColumnType<unknown, string, string>;
  tuned_at: Date;
}

/** Tables of the corpus room; all live in the schema `clara`. */
export interface CorpusTables {
  corpus_embedder: CorpusEmbedderTable;
  corpus_document: CorpusDocumentTable;
  corpus_chunk: CorpusChunkTable;
  corpus_entity: CorpusEntityTable;
  corpus_mention: CorpusMentionTable;
  corpus_relation: CorpusRelationTable;
  corpus_search_settings: CorpusSearchSettingsTable;
}

/** In order; never edit one that was published, add the next. */
export const corpusMigrations: Record<string, Migration> = {
  "006-corpus": {
    async up(db: Kysely<unknown>): Promise<void> {
      await sql`
        create table clara.corpus_embedder (
          id integer primary key generated always as identity,
          name text not null,
          dimensions integer not null check (dimensions >= 1),
          unique (name, dimensions)
        )`.execute(db);
      await sql`
        create table clara.corpus_document (
          id text primary key,
          content_hash text not null unique,
          attributes_hash text not null,
          tenant text,
          chunk_count integer not null,
          created_at timestamptz not null default now()
        )`.execute(db);
      // Vectors are real[], which every Postgres has; where pgvector is there, queries and indexes cast them to its type.
      await sql`
        create table clara.corpus_chunk (
          id text primary key,
          document_id text not null references clara.corpus_document (id) on delete cascade,
          position integer not null,
          content text not null,
          title text,
          document_type text,
          tenant text,
          domain text not null,
          language regconfig not null,
          source text not null,
          date timestamptz,
          quality double precision not null,
          metadata jsonb not null,
          embedder_id integer references clara.corpus_embedder (id),
          embedding real[],
          extractor text,
          search tsvector generated always as (
            setweight(to_tsvector(language, coalesce(title, '')), 'A') || setweight(to_tsvector(language, content), 'D')
          ) stored
        )`.execute(db);
      await sql`create index corpus_chunk_search on clara.corpus_chunk using gin (search)`.execute(db);
      await sql`create index corpus_chunk_document on clara.corpus_chunk (document_id, position)`.execute(db);
      await sql`create index corpus_chunk_embedder on clara.corpus_chunk (embedder_id)`.execute(db);
      await sql`create index corpus_chunk_language on clara.corpus_chunk (language)`.execute(db);
      await sql`create index corpus_chunk_domain on clara.corpus_chunk (domain)`.execute(db);
      await sql`create index corpus_chunk_tenant on clara.corpus_chunk (tenant) where tenant is not null`.execute(db);
      await createGraph(db);
      await sql`
        create table clara.corpus_search_settings (
          tenant text not null,
          domain text not null,
          settings jsonb not null,
          tuned_at timestamptz not null,
          primary key (tenant, domain)
        )`.execute(db);
    },
  },
};

async function createGraph(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table clara.corpus_entity (
      id integer primary key generated always as identity,
      name text not null unique,
      label text not null,
      kind text not null
    )`.execute(db);
  await sql`
    create table clara.corpus_mention (
      entity_id integer not null references clara.corpus_entity (id) on delete cascade,
      chunk_id text not null references clara.corpus_chunk (id) on delete cascade,
      weight real not null check (weight > 0 and weight <= 1),
      primary key (entity_id, chunk_id)
    )`.execute(db);
  await sql`create index corpus_mention_chunk on clara.corpus_mention (chunk_id)`.execute(db);
  await sql`
    create table clara.corpus_relation (
      from_entity integer not null references clara.corpus_entity (id) on delete cascade,
      to_entity integer not null references clara.corpus_entity (id) on delete cascade,
      kind text not null,
      weight real not null check (weight > 0),
      chunk_id text not null references clara.corpus_chunk (id) on delete cascade,
      primary key (from_entity, to_entity, kind, chunk_id)
    )`.execute(db);
  await sql`create index corpus_relation_to on clara.corpus_relation (to_entity)`.execute(db);
  await sql`create index corpus_relation_chunk on clara.corpus_relation (chunk_id)`.execute(db);
}
