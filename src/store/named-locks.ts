import type pg from "pg";
import { AbortedError, StorageError } from "../errors.js";
import { mapDatabaseError } from "./database-error.js";
import { closedError } from "./kysely-pool.js";

/** Gives one caller at a time the lock of a name. */
export interface NamedLocks {
  /** Runs `work` while holding the lock; its signal says that the lock was lost or the call aborted. */
  run<T>(name: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Aborts whoever waits or works, and waits until all have ended. */
  close(): Promise<void>;
}

/** Locks of a database that only this process can open. */
export class ProcessLocks implements NamedLocks {
  readonly #tails = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();

  async run<T>(name: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const either = AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])]);
    const before = this.#tails.get(name) ?? Promise.resolve();
    let finish: () => void = () => {};
    const mine = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const tail = before.then(() => mine);
    this.#tails.set(name, tail);
    try {
      await untilAborted(before, either);
      throwIfAborted(either);
      return await work(either);
    } finally {
      finish();
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(closedError());
    await Promise.all(this.#tails.values());
  }
}

/** Locks of a PostgreSQL server, over all processes: session advisory locks, each on a connection of its own. */
export class AdvisoryLocks implements NamedLocks {
  readonly #pool: pg.Pool;
  readonly #database: string;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(pool: pg.Pool, database: string) {
    this.#pool = pool;
    this.#database = database;
  }

  run<T>(name: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const running = this.#run(name, work, AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])]));
    this.#running.add(running);
    const done = () => void this.#running.delete(running);
    running.then(done, done);
    return running;
  }

  async close(): Promise<void> {
    this.#closing.abort(closedError());
    await Promise.allSettled(this.#running);
  }

  async #run<T>(name: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    throwIfAborted(signal);
    // Not from the pool: a pool of one would leave none for the work.
    const Client = (this.#pool as unknown as { Client: new (options: pg.PoolConfig) => pg.Client }).Client;
    const client = new Client(this.#pool.options);
    const lost = new AbortController();
    let isEnding = false;
    const onLost = (error?: Error) => {
      if (isEnding) return;
      lost.abort(
        new StorageError(
          "store_unavailable",
          `The lock '${name}' was lost with its connection to ${this.#database}${error ? `: ${error.message}` : ""}. Another process may hold it now; repeat the call.`,
          {
            isRetryable: true,
            cause: error,
            details: { lock: name },
          },
        ),
      );
    };
    client.on("error", onLost);
    client.on("end", () => onLost());
    let heartbeat: NodeJS.Timeout | null = null;
    try {
      await this.#connect(client);
      await this.#acquire(client, name, signal);
      heartbeat = setInterval(() => void client.query("select 1").catch(onLost), HEARTBEAT_MS).unref();
      const result = await work(AbortSignal.any([signal, lost.signal]));
      if (lost.signal.aborted) throw lost.signal.reason;
      return result;
    } catch (error) {
      throw lost.signal.aborted ? lost.signal.reason : error;
    } finally {
      isEnding = true;
      if (heartbeat !== null) clearInterval(heartbeat);
      // Ending the session releases the lock, whatever state it is in.
      await client.end().catch(() => {});
    }
  }

  async #connect(client: pg.Client): Promise<void> {
    try {
      await client.connect();
      // A host that vanished without a word gives its locks back after about a minute instead of hours.
      await client.query("set tcp_keepalives_idle = 20; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 4").catch(() => {});
    } catch (error) {
      throw mapDatabaseError(error, this.#database);
    }
  }

  async #acquire(client: pg.Client, name: string, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const cancel = () => {
      const processId = (client as unknown as { processID: number }).processID;
      // The server would leave a waiting session in its queue: take it out.
      this.#pool.query("select pg_cancel_backend($1)", [processId]).catch(() => void client.end().catch(() => {}));
    };
    signal.addEventListener("abort", cancel, { once: true });
    try {
      await client.query("select pg_advisory_lock(hashtextextended('clara:' || $1, 0))", [name]);
    } catch (error) {
      throwIfAborted(signal);
      throw mapDatabaseError(error, this.#database);
    } finally {
      signal.removeEventListener("abort", cancel);
    }
    throwIfAborted(signal);
  }
}

/** How often the connection of a held lock is checked, in milliseconds. */
const HEARTBEAT_MS = 10_000;

function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  if (signal.reason instanceof StorageError) throw signal.reason;
  throw new AbortedError("The call was aborted while it waited for a lock.", { cause: signal.reason });
}

function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      try {
        throwIfAborted(signal);
      } catch (error) {
        reject(error as Error);
      }
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
