import type { PostgresPool, PostgresPoolClient } from "kysely";
import pg from "pg";
import { StorageError } from "../errors.js";
import { isConnectionError, mapDatabaseError } from "./database-error.js";

/** int8 stays text, whatever parser the host installed for the whole process: beyond 2^53 a number would lie. */
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, (text: string) => text);

/** What Kysely runs on: the pool, with errors in CLARA's terms and the same value types on every host. */
export class KyselyPool implements PostgresPool {
  #isClosed = false;
  /** Why the database is gone for good, once it is. */
  failure: StorageError | null = null;
  readonly #pool: pg.Pool;
  /** What the database is called in messages. */
  readonly database: string;
  readonly Client: PostgresPool["Client"];
  readonly options: object;

  readonly #explain: () => Promise<StorageError | null>;

  /** `explain` says why connections break, where the database itself is known to have ended. */
  constructor(pool: pg.Pool, database: string, explain: () => Promise<StorageError | null> = async () => null) {
    this.#explain = explain;
    this.#pool = pool;
    this.database = database;
    this.Client = (pool as unknown as { Client: PostgresPool["Client"] }).Client;
    this.options = pool.options;
  }

  /** From now on every statement is refused. */
  refuse(): void {
    this.#isClosed = true;
  }

  async connect(): Promise<PostgresPoolClient> {
    if (this.failure) throw this.failure;
    if (this.#isClosed) throw closedError();
    let client: pg.PoolClient;
    try {
      client = await this.#pool.connect();
    } catch (error) {
      throw await this.#map(error);
    }
    let isBroken = false;
    // A connection that breaks between two statements would otherwise end the whole process.
    const onError = () => {
      isBroken = true;
    };
    client.on("error", onError);
    const query = async (statement: unknown, values?: readonly unknown[]) => {
      try {
        return await (typeof statement === "string"
          ? client.query({ text: statement, values: values ? [...values] : [], types })
          : client.query(statement as pg.QueryConfig));
      } catch (error) {
        isBroken ||= isConnectionError(error);
        throw await this.#map(error);
      }
    };
    const release = (destroy?: boolean) => {
      // A broken one keeps its listener: it may complain once more while it ends.
      if (!isBroken) client.off("error", onError);
      client.release(destroy || isBroken);
    };
    const { processID } = client as unknown as { processID?: number };
    return { query, processID, release } as unknown as PostgresPoolClient;
  }

  async #map(error: unknown): Promise<unknown> {
    if (!isConnectionError(error)) return mapDatabaseError(error, this.database);
    return this.failure ?? (await this.#explain()) ?? mapDatabaseError(error, this.database);
  }

  async end(): Promise<void> {
    this.refuse();
  }
}

/** The answer to any call after `close()`. */
export function closedError(): StorageError {
  return new StorageError("store_closed", "The store is closed. Open it again, or keep it open until the last call is done.");
}
