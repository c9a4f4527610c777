import { sql } from "kysely";
import type { PoolClient } from "pg";
import type { Executor, Store } from "../store/store.js";
import type { Logger } from "../types/common.js";

const CHANNEL = "clara_training";
const RELISTEN_AFTER_MS = 2000;

/** In the transaction that changed the job: wakes watchers and workers of other processes when it commits. */
export async function notifyOthers(executor: Executor, jobId: string): Promise<void> {
  await sql`select pg_notify(${CHANNEL}, ${jobId})`.execute(executor);
}

/**
 * Tells who waits that a job changed: at once within this process, by NOTIFY from others where the database carries it.
 * Nobody may rely on it alone: a lost notification only means that the next poll finds the change.
 */
export class JobNotifier {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #listeners = new Set<(jobId: string | null) => void>();
  #client: PoolClient | null = null;
  #connecting: Promise<void> | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(store: Store, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  /** True while other processes' changes arrive by themselves. */
  get isListening(): boolean {
    return this.#client !== null;
  }

  /** Calls back with the id of each changed job, or null where any may have changed. Returns the way to stop. */
  subscribe(listener: (jobId: string | null) => void): () => void {
    this.#listeners.add(listener);
    this.#listen();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#release();
    };
  }

  /** A job of this process changed. */
  notify(jobId: string | null): void {
    for (const listener of [...this.#listeners]) listener(jobId);
  }

  /** Resolves when the job changed, after `timeoutMs`, or on abort. */
  wait(jobId: string, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        unsubscribe();
        signal?.removeEventListener("abort", settle);
        resolve();
      };
      const timer = setTimeout(settle, timeoutMs);
      const unsubscribe = this.subscribe((changed) => {
        if (changed === null || changed === jobId) settle();
      });
      if (signal?.aborted) settle();
      else signal?.addEventListener("abort", settle, { once: true });
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.notify(null);
    this.#listeners.clear();
    this.#release();
    await this.#connecting;
  }

  #listen(): void {
    // A PGlite behind its socket does not carry notifications, and its connections take turns.
    if (this.#isClosed || this.#store.kind !== "postgres" || this.#client !== null || this.#connecting !== null) return;
    if ((this.#store.pool.options.max ?? 10) < 3 || this.#retryTimer !== null) return;
    this.#connecting = this.#connect().finally(() => {
      this.#connecting = null;
    });
  }

  async #connect(): Promise<void> {
    try {
      const client = await this.#store.pool.connect();
      client.on("notification", (message) => this.notify(message.payload ?? null));
      client.on("error", (error) => this.#lost(client, error));
      client.on("end", () => this.#lost(client, new Error("the connection ended")));
      await client.query(`listen ${CHANNEL}`);
      if (this.#isClosed || this.#listeners.size === 0) {
        client.release(true);
        return;
      }
      this.#client = client;
      // what changed before LISTEN began was not announced
      this.notify(null);
    } catch (error) {
      this.#retryLater(error);
    }
  }

  #lost(client: PoolClient, error: Error): void {
    if (this.#client !== client) return;
    this.#client = null;
    client.removeAllListeners("notification");
    client.release(error);
    this.#retryLater(error);
  }

  #retryLater(error: unknown): void {
    if (this.#isClosed || this.#listeners.size === 0) return;
    this.#logger.debug({ error: String(error) }, "not listening for job notifications; polling goes on");
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null;
      if (this.#listeners.size > 0) this.#listen();
    }, RELISTEN_AFTER_MS);
  }

  #release(): void {
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    const client = this.#client;
    this.#client = null;
    // ended, not returned: a pooled connection that still listens would pile up notifications nobody reads
    client?.release(true);
  }
}
