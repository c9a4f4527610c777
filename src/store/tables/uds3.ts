import { type ColumnType, sql } from "kysely";
import type { Migration } from "kysely/migration";

/** A document that goes into, or out of, the user's own databases: what is done, and until all is done what to write. */
export interface Uds3DocumentTable {
  /** Which table, collection and label, so that several may be fed from here. */
  target: string;
  id: string;
  content_hash: string;
  /** Null once it is everywhere, and for a removal. */
  payload: ColumnType<unknown, string | null, string | null>;
  is_removal: ColumnType<boolean, boolean | undefined, boolean>;
  in_postgres: ColumnType<boolean, boolean | undefined, boolean>;
  in_chroma: ColumnType<boolean, boolean | undefined, boolean>;
  in_neo4j: ColumnType<boolean, boolean | undefined, boolean>;
  changed_at: ColumnType<Date, never, Date>;
}

/** Tables of the connector to the user's own databases; all live in the schema `clara`. */
export interface Uds3Tables {
  uds3_documents: Uds3DocumentTable;
}

/** In order; never edit one that was published, add the next. */
export const uds3Migrations: Record<string, Migration> = {
  "009-uds3": {
    async up(db) {
      await sql`
        create table clara.uds3_documents (
          target text not null, id text not null, content_hash text not null, payload jsonb,
          is_removal boolean not null default false,
          in_postgres boolean not null default false, in_chroma boolean not null default false, in_neo4j boolean not null default false,
          changed_at timestamptz not null default now(),
          primary key (target, id))`.execute(db);
      await sql`
        create index uds3_documents_unfinished on clara.uds3_documents (target, id)
        where not (in_postgres and in_chroma and in_neo4j)`.execute(db);
    },
  },
};
