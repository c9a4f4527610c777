import { sql } from "kysely";
import type { Executor, Store } from "../../store/store.js";
import type { ResolvedMapping } from "../mapping.js";
import type { DocumentRecord } from "./document-record.js";

/** The databases in the order in which they are written. */
export const DATABASES = ["postgres", "chroma", "neo4j"] as const;
export type DatabaseName = (typeof DATABASES)[number];

/** A document that is not yet written to, or not yet gone from, all three. */
export interface UnfinishedDocument {
  id: string;
  version: string;
  /** Null: it is to be removed. */
  record: DocumentRecord | null;
  done: Record<DatabaseName, boolean>;
}

/** What has to be written, and where it is already: a crash leaves it behind, and `recover` goes on from it. */
export class Outbox {
  readonly #store: Store;
  readonly #target: string;

  constructor(store: Store, { postgres, chroma, neo4j }: ResolvedMapping) {
    this.#store = store;
    this.#target = [`${postgres.schema}.${postgres.table}`, chroma.collection, `${neo4j.database ?? ""}:${neo4j.documentLabel}`].join("|");
  }

  /** One writer at a time, over all processes: a later text of a document can never be overwritten by an earlier one. */
  exclusively<T>(work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#store.withLock(`uds3:${this.#target}`, work, { signal });
  }

  /** Which of the documents are everywhere already, with the same text. */
  async written(records: readonly DocumentRecord[]): Promise<Set<string>> {
    if (records.length === 0) return new Set();
    const rows = await this.#rows(this.#store.db)
      .select(["id", "content_hash"])
      .where(
        "id",
        "in",
        records.map(({ id }) => id),
      )
      .where((row) => row.and([row("in_postgres", "=", true), row("in_chroma", "=", true), row("in_neo4j", "=", true)]))
      .execute();
    const versions = new Map(rows.map((row) => [row.id, row.content_hash]));
    return new Set(records.filter(({ id, version }) => versions.get(id) === version).map(({ id }) => id));
  }

  /** Durable before any database is touched. */
  async add(records: readonly DocumentRecord[]): Promise<UnfinishedDocument[]> {
    const target = this.#target;
    const rows = records.map((record) => ({ target, id: record.id, content_hash: record.version, payload: JSON.stringify(record) }));
    await this.#store.db
      .insertInto("uds3_documents")
      .values(rows)
      .onConflict((conflict) =>
        conflict.columns(["target", "id"]).doUpdateSet((row) => ({
          content_hash: row.ref("excluded.content_hash"),
          payload: row.ref("excluded.payload"),
          is_removal: false,
          in_postgres: false,
          in_chroma: false,
          in_neo4j: false,
          changed_at: new Date(),
        })),
      )
      .execute();
    return records.map((record) => ({
      id: record.id,
      version: record.version,
      record,
      done: { postgres: false, chroma: false, neo4j: false },
    }));
  }

  /** Notes that documents are to go. */
  async addRemovals(ids: readonly string[]): Promise<UnfinishedDocument[]> {
    const target = this.#target;
    await this.#store.db
      .insertInto("uds3_documents")
      .values(ids.map((id) => ({ target, id, content_hash: "", payload: null, is_removal: true })))
      .onConflict((conflict) =>
        conflict.columns(["target", "id"]).doUpdateSet({
          content_hash: "",
          payload: null,
          is_removal: true,
          in_postgres: false,
          in_chroma: false,
          in_neo4j: false,
          changed_at: new Date(),
        }),
      )
      .execute();
    return ids.map((id) => ({ id, version: "", record: null, done: { postgres: false, chroma: false, neo4j: false } }));
  }

  /** Notes where the documents are now; those that are everywhere lose their text here, removed ones their row. */
  async markDone(documents: readonly UnfinishedDocument[], database: DatabaseName): Promise<void> {
    const { db } = this.#store;
    const ids = documents.map(({ id }) => id);
    await db
      .updateTable("uds3_documents")
      .set({ [`in_${database}`]: true, changed_at: new Date() })
      .where("target", "=", this.#target)
      .where("id", "in", ids)
      .execute();
    if (database !== DATABASES.at(-1)) return;
    const everywhere = sql<boolean>`in_postgres and in_chroma and in_neo4j`;
    await db
      .deleteFrom("uds3_documents")
      .where("target", "=", this.#target)
      .where("id", "in", ids)
      .where("is_removal", "=", true)
      .where(everywhere)
      .execute();
    await db
      .updateTable("uds3_documents")
      .set({ payload: null })
      .where("target", "=", this.#target)
      .where("id", "in", ids)
      .where(everywhere)
      .execute();
  }

  /** The next documents that are not everywhere, in the order of their ids. */
  async unfinished(limit: number, afterId: string): Promise<UnfinishedDocument[]> {
    const rows = await this.#rows(this.#store.db)
      .select(["id", "content_hash", "payload", "in_postgres", "in_chroma", "in_neo4j"])
      .where(sql<boolean>`not (in_postgres and in_chroma and in_neo4j)`)
      .where("id", ">", afterId)
      .orderBy("id")
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      version: row.content_hash,
      record: row.payload as DocumentRecord | null,
      done: { postgres: row.in_postgres, chroma: row.in_chroma, neo4j: row.in_neo4j },
    }));
  }

  /** How many are not everywhere yet. */
  async countUnfinished(): Promise<number> {
    const row = await this.#rows(this.#store.db)
      .select((rows) => rows.fn.countAll<string>().as("count"))
      .where(sql<boolean>`not (in_postgres and in_chroma and in_neo4j)`)
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  #rows(executor: Executor) {
    return executor.selectFrom("uds3_documents").where("target", "=", this.#target);
  }
}
