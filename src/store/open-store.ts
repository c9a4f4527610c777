import { Kysely, PostgresDialect, sql } from "kysely";
import type pg from "pg";
import { AbortedError, ClaraError, ConfigurationError, type StorageError } from "../errors.js";
import type { CallOptions, Logger } from "../types/common.js";
import { mapDatabaseError } from "./database-error.js";
import { type EmbeddedDatabase, openEmbedded } from "./embedded.js";
import { closedError, KyselyPool } from "./kysely-pool.js";
import { migrate, SCHEMA } from "./migrations.js";
import { AdvisoryLocks, type NamedLocks, ProcessLocks } from "./named-locks.js";
import { Notifications } from "./notifications.js";
import { createPool, describePool, MIN_SERVER_VERSION } from "./postgres.js";
import type { Database } from "./schema.js";
import type { Journal, Store, StoreCapabilities } from "./store.js";

/** What {@link openStore} opens. */
export interface StoreOptions extends CallOptions {
  /** The application's `pg.Pool` (stays open), a `postgres://` URL, or the folder of an embedded database. Default `{ dataDir: ".clara" }`. */
  database?: pg.Pool | string | { dataDir: string };
  logger?: Logger;
}

/** Folder of the embedded database where none is named. */
export const DEFAULT_DATA_DIR = ".clara";

/**
 * Opens the database and brings its schema `clara` up to date.
 * @throws ConfigurationError where `database` is nothing of the kind; StorageError `store_locked`, `store_unavailable`, `migration_failed`, `journal_corrupt`, `disk_full`
 * @example
 * ```ts
 * const store = await openStore({ database: { dataDir: "./state" } });
 * try { await store.db.selectFrom("feedback").selectAll().execute(); } finally { await store.close(); }
 * ```
 */
export async function openStore(options: StoreOptions = {}): Promise<Store> {
  const { database = { dataDir: DEFAULT_DATA_DIR }, logger, signal } = options;
  throwIfAborted(signal);
  if (typeof database === "string") return openPostgres(createPool(database), { logger, signal, ownsPool: true });
  if (isPool(database)) return openPostgres(database, { logger, signal, ownsPool: false });
  if (isFolder(database)) return openInFolder(database.dataDir, { logger, signal });
  throw new ConfigurationError("config_invalid", "`database` must be a pg.Pool, a postgres:// URL, or { dataDir: string }.");
}

interface OpenOptions {
  logger: Logger | undefined;
  signal: AbortSignal | undefined;
}

async function openInFolder(dataDir: string, { logger, signal }: OpenOptions): Promise<Store> {
  let failure: StorageError | null = null;
  let kyselyPool: KyselyPool | null = null;
  const embedded = await openEmbedded({
    dataDir,
    signal,
    onCheckpointError: (error) => logger?.warn({ error: String(error) }, "the journal could not be shortened; it is tried again"),
    onFailure: (error) => {
      failure ??= error;
      if (kyselyPool !== null) kyselyPool.failure = failure;
      logger?.error({ code: error.code, ...error.details }, error.message);
    },
  });
  const name = `in ${embedded.dataDir}`;
  kyselyPool = new KyselyPool(embedded.pool, name, embedded.failure);
  kyselyPool.failure = failure;
  const store = new OpenStore({
    kind: "embedded",
    pool: embedded.pool,
    kyselyPool,
    embedded,
    locks: new ProcessLocks(),
    logger,
    end: () => embedded.close(),
  });
  return store.start(signal);
}

async function openPostgres(pool: pg.Pool, options: OpenOptions & { ownsPool: boolean }): Promise<Store> {
  const name = describePool(pool);
  const kyselyPool = new KyselyPool(pool, name);
  const store = new OpenStore({
    kind: "postgres",
    pool,
    kyselyPool,
    embedded: null,
    locks: new AdvisoryLocks(pool, name),
    logger: options.logger,
    end: async () => {
      if (options.ownsPool) await pool.end();
    },
  });
  return store.start(options.signal);
}

class OpenStore implements Store {
  readonly kind: Store["kind"];
  readonly pool: pg.Pool;
  readonly db: Kysely<Database>;
  readonly dataDir: string | null;
  readonly journal: Journal | null;
  readonly notifications: Notifications;
  capabilities: StoreCapabilities = { vector: false, trigram: false, durableCommit: false };
  readonly #kyselyPool: KyselyPool;
  readonly #locks: NamedLocks;
  readonly #end: () => Promise<void>;
  readonly #onPoolError: (error: Error) => void;
  #closing: Promise<void> | null = null;

  constructor(parts: {
    kind: Store["kind"];
    pool: pg.Pool;
    kyselyPool: KyselyPool;
    embedded: EmbeddedDatabase | null;
    locks: NamedLocks;
    logger: Logger | undefined;
    end: () => Promise<void>;
  }) {
    this.kind = parts.kind;
    this.pool = parts.pool;
    this.dataDir = parts.embedded?.dataDir ?? null;
    this.journal = parts.embedded?.journal ?? null;
    this.notifications = new Notifications({ pool: parts.pool, carries: parts.kind === "postgres", logger: parts.logger });
    this.#kyselyPool = parts.kyselyPool;
    this.#locks = parts.locks;
    this.#end = parts.end;
    // Without a listener a broken idle connection would end the whole process.
    this.#onPoolError = (error) => parts.logger?.warn({ error: error.message }, "an idle database connection broke; the pool replaces it");
    this.pool.on("error", this.#onPoolError);
    this.db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: parts.kyselyPool }) }).withSchema(SCHEMA);
  }

  async start(signal: AbortSignal | undefined): Promise<this> {
    try {
      const version = await sql<{ version: string }>`select current_setting('server_version_num') as version`.execute(this.db);
      const major = Math.floor(Number(version.rows[0]?.version) / 10_000);
      if (major < MIN_SERVER_VERSION) {
        throw new ConfigurationError("config_invalid", `PostgreSQL ${major} is too old: use version ${MIN_SERVER_VERSION} or newer.`, {
          details: { major },
        });
      }
      throwIfAborted(signal);
      const extensions = await migrate(this.db);
      this.capabilities = { vector: extensions.has("vector"), trigram: extensions.has("pg_trgm"), durableCommit: this.kind === "postgres" };
      throwIfAborted(signal);
      return this;
    } catch (error) {
      await this.close().catch(() => {});
      throw mapDatabaseError(error, this.#kyselyPool.database);
    }
  }

  withLock<T>(name: string, work: (signal: AbortSignal) => Promise<T>, options: CallOptions = {}): Promise<T> {
    if (this.#closing !== null) return Promise.reject(closedError());
    return this.#locks.run(name, work, options.signal);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.notifications.close();
    await this.#locks.close();
    this.#kyselyPool.refuse();
    try {
      await this.#end();
    } catch (error) {
      throw ClaraError.isInstance(error) ? error : mapDatabaseError(error, this.#kyselyPool.database);
    } finally {
      this.pool.off("error", this.#onPoolError);
    }
  }
}

function isPool(database: unknown): database is pg.Pool {
  return (
    typeof database === "object" &&
    database !== null &&
    "connect" in database &&
    "query" in database &&
    typeof database.connect === "function"
  );
}

function isFolder(database: unknown): database is { dataDir: string } {
  return (
    typeof database === "object" &&
    database !== null &&
    "dataDir" in database &&
    typeof database.dataDir === "string" &&
    database.dataDir !== ""
  );
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortedError("Opening the store was aborted.", { cause: signal.reason });
}
