import type { Kysely, Transaction } from "kysely";
import type { Pool } from "pg";
import type { CallOptions } from "../types/common.js";
import type { Notifications } from "./notifications.js";
import type { Database } from "./schema.js";

/** A handle on which statements run: the database itself, or an open transaction. */
export type Executor = Kysely<Database> | Transaction<Database>;

/** What this database can do beyond plain SQL. */
export interface StoreCapabilities {
  /** `vector` extension. */
  vector: boolean;
  /** `pg_trgm` extension. */
  trigram: boolean;
  /** Commits survive power loss without the journal. */
  durableCommit: boolean;
}

/** One acknowledged record that must survive power loss. */
export interface JournalEntry {
  /** Which reader replays it, for example `feedback`. */
  kind: string;
  /** Replaying the same id twice changes nothing. */
  id: string;
  payload: unknown;
}

/**
 * Append-only file with group commit (append + fdatasync); only where commits are not durable by themselves.
 * The order that loses nothing: commit to the database, then append, then acknowledge; at open, replay every kind before use.
 */
export interface Journal {
  /** Resolves when the entry is on disk; rejects with `StorageError` `disk_full` or `store_unavailable`, and then nothing was kept. */
  append(entry: JournalEntry): Promise<void>;
  /** Hands every entry of the kind to `apply`, oldest first. */
  replay(kind: string, apply: (entry: JournalEntry) => Promise<void>): Promise<number>;
  /**
   * Drops every entry whose effect the database has on disk by then: after a deletion, what was deleted is in neither of them. Entries
   * of an earlier run that nobody has replayed yet stay.
   */
  checkpoint(): Promise<void>;
}

/** An open database with CLARA's schema. */
export interface Store {
  readonly kind: "embedded" | "postgres";
  /** Folder of the embedded database and of files beside it; null on a user's Postgres. */
  readonly dataDir: string | null;
  readonly pool: Pool;
  readonly db: Kysely<Database>;
  readonly capabilities: StoreCapabilities;
  readonly journal: Journal | null;
  /** Word of changes, within this process and, on Postgres, from the others; one connection of the pool while anybody listens. */
  readonly notifications: Notifications;
  /**
   * Runs `work` while holding the named lock, one holder over all processes of this database. The signal given to `work` says that the
   * lock was lost, the call aborted or the store closed; a lost lock rejects with `StorageError`, though `work` may have finished.
   * Not reentrant: `work` must not ask for the same name.
   */
  withLock<T>(name: string, work: (signal: AbortSignal) => Promise<T>, options?: CallOptions): Promise<T>;
  /** Closes what it opened; a pool that was passed in stays open. */
  close(): Promise<void>;
}
