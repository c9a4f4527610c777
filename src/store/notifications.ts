import { sql } from "kysely";
import type { Pool, PoolClient } from "pg";
import type { Logger } from "../types/common.js";
import type { Executor } from "./store.js";

const CHANNEL = "clara";
const RELISTEN_AFTER_MS = 2_000;
/** Connections that a pool must have before one of them is kept for listening. */
const MIN_POOL = 3;

/** What may change under everybody's feet. */
export type Topic = "job" | "adapters" | "memory";

/** Called with the subject of a change, or null where any may have changed. */
export type ChangeListener = (subject: string | null) => void;

/** In the transaction that made the change: tells the other processes of this database when it commits. */
export async function notifyOthers(executor: Executor, topic: Topic, subject: string): Promise<void> {
  await sql`select pg_notify(${CHANNEL}, ${`${topic}:${subject}`})`.execute(executor);
}

/**
 * Tells who listens that something changed: at once within this process, by NOTIFY from others where the database carries it.
 * Nobody may rely on it alone: a lost notification only means that the next poll finds the change.
 */
export class Notifications {
  readonly #pool: Pool;
  readonly #carries: boolean;
  readonly #logger: Logger | undefined;
  readonly #listeners = new Map<Topic, Set<ChangeListener>>();
  #client: PoolClient | null = null;
  #connecting: Promise<void> | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  #isClosed = false;

  /** `carries`: a PGlite behind its socket does not carry notifications, and its connections take turns. */
  constructor({ pool, carries, logger }: { pool: Pool; carries: boolean; logger: Logger | undefined }) {
    this.#pool = pool;
    this.#carries = carries && (pool.options.max ?? 10) >= MIN_POOL;
    this.#logger = logger;
  }

  /** True while other processes' changes arrive by themselves. */
  get isListening(): boolean {
    return this.#client !== null;
  }

  /**
   * Calls back with the subject of each change, or null where any may have changed. Returns the way to stop.
   * @example
   * ```ts
   * const stop = clara.store.notifications.subscribe("adapters", () => console.log("something else may serve now"));
   * ```
   */
  subscribe(topic: Topic, listener: ChangeListener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    this.#listen();
    return () => {
      listeners.delete(listener);
      if (!this.#isWanted) this.#release();
    };
  }

  /**
   * This process changed something; its own listeners need no database to hear of it.
   * @example
   * ```ts
   * clara.store.notifications.announce("memory", null);
   * ```
   */
  announce(topic: Topic, subject: string | null): void {
    for (const listener of [...(this.#listeners.get(topic) ?? [])]) listener(subject);
  }

  /**
   * Stops listening and gives the connection back; the store does so when it closes.
   * @example
   * ```ts
   * await clara.store.notifications.close();
   * ```
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    this.#release();
    await this.#connecting;
  }

  get #isWanted(): boolean {
    return !this.#isClosed && [...this.#listeners.values()].some((listeners) => listeners.size > 0);
  }

  #announceAll(): void {
    for (const topic of this.#listeners.keys()) this.announce(topic, null);
  }

  #listen(): void {
    if (this.#isClosed || !this.#carries || this.#client !== null || this.#connecting !== null || this.#retryTimer !== null) return;
    this.#connecting = this.#connect().finally(() => {
      this.#connecting = null;
    });
  }

  async #connect(): Promise<void> {
    try {
      const client = await this.#pool.connect();
      client.on("notification", ({ payload = "" }) => this.#received(payload));
      client.on("error", (error) => this.#lost(client, error));
      client.on("end", () => this.#lost(client, new Error("the connection ended")));
      await client.query(`listen ${CHANNEL}`);
      if (!this.#isWanted) {
        client.release(true);
        return;
      }
      this.#client = client;
      // what changed before LISTEN began was not announced
      this.#announceAll();
    } catch (error) {
      this.#retryLater(error);
    }
  }

  #received(payload: string): void {
    const end = payload.indexOf(":");
    this.announce(payload.slice(0, end) as Topic, payload.slice(end + 1));
  }

  #lost(client: PoolClient, error: Error): void {
    if (this.#client !== client) return;
    this.#client = null;
    client.removeAllListeners("notification");
    client.release(error);
    this.#retryLater(error);
  }

  #retryLater(error: unknown): void {
    if (!this.#isWanted) return;
    this.#logger?.debug({ error: String(error) }, "not listening for notifications; polling goes on");
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null;
      if (this.#isWanted) this.#listen();
    }, RELISTEN_AFTER_MS).unref();
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
