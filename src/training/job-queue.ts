import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { fromKysely, type JobAttempt, PgBoss } from "pg-boss";
import { StorageError } from "../errors.js";
import { mapDatabaseError } from "../store/index.js";
import type { Executor, Store } from "../store/store.js";
import type { Logger } from "../types/common.js";

/** One delivery of a job; names the attempt, so that a worker that lost it settles nothing. */
export interface Delivery extends JobAttempt {
  jobId: string;
}

const SCHEMA = "clara_queue";
const QUEUE = "training";
/** Every job is in one group, because the limit counts jobs of all kinds over all processes. */
const GROUP = { id: "training" };
/** pg-boss's least. A killed worker's job is delivered again after this and one supervision. */
const HEARTBEAT_SECONDS = 10;
const SUPERVISE_SECONDS = 3;
/** pg-boss's own limits must never end a job: our row decides. */
const LONGEST_RUN_SECONDS = 24 * 3600 - 1;
const LONGEST_WAIT_SECONDS = 365 * 24 * 3600;

/** Until the transaction ends nobody else claims or settles a job. */
export async function lockQueue(executor: Executor): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('clara:training-queue', 0))`.execute(executor);
}

/**
 * Delivery of jobs over pg-boss, in the schema `clara_queue`. Everything that changes a job takes the transaction that
 * changes its row.
 */
export class JobQueue {
  readonly #store: Store;
  readonly #logger: Logger;
  #started: Promise<PgBoss> | null = null;
  #isClosed = false;

  constructor(store: Store, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  /** Sends a message that delivers the job; its id. */
  async send(executor: Executor, job: { id: string; priority: number }, options: { delaySeconds?: number } = {}): Promise<string> {
    const boss = await this.#boss();
    const id = randomUUID();
    await boss.send(
      QUEUE,
      { jobId: job.id },
      { id, db: fromKysely(executor), priority: job.priority, group: GROUP, startAfter: options.delaySeconds ?? 0 },
    );
    return id;
  }

  /** Takes back a message that was not delivered yet or that nobody needs any more. */
  async withdraw(executor: Executor, messageId: string): Promise<void> {
    const boss = await this.#boss();
    await boss.cancel(QUEUE, messageId, { db: fromKysely(executor) });
  }

  /** The next message, highest priority first, or null where none is due or `limit` jobs are being worked on. */
  async fetch(executor: Executor, limit: number): Promise<Delivery | null> {
    const boss = await this.#boss();
    // The count of active jobs and the choice are one statement, but two such statements do not see each other's choice.
    await lockQueue(executor);
    const [message] = await boss.fetch<{ jobId: string }>(QUEUE, { db: fromKysely(executor), batchSize: 1, groupConcurrency: limit });
    return message === undefined ? null : { id: message.id, retryCount: message.retryCount, jobId: message.data.jobId };
  }

  async complete(executor: Executor, delivery: JobAttempt): Promise<void> {
    const boss = await this.#boss();
    await boss.complete(QUEUE, delivery, null, { db: fromKysely(executor) });
  }

  /** Says that the worker lives; false where the message went to somebody else. */
  async heartbeat(delivery: JobAttempt): Promise<boolean> {
    const boss = await this.#boss();
    // its declared type is empty
    const { affected } = (await boss.touch(QUEUE, delivery)) as { affected: number };
    return affected === 1;
  }

  /** True where the message will be delivered or is being worked on. */
  async isAlive(executor: Executor, messageId: string): Promise<boolean> {
    const state = await this.#state(executor, messageId);
    return state === "created" || state === "retry" || state === "active";
  }

  /** True where a worker has the message and its heartbeat has not stopped yet. */
  async isHeld(executor: Executor, messageId: string): Promise<boolean> {
    return (await this.#state(executor, messageId)) === "active";
  }

  /** Creates what the queue needs; the first call of any method does so too. */
  async start(): Promise<void> {
    await this.#boss();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const started = this.#started;
    this.#started = null;
    if (started === null) return;
    const boss = await started.catch(() => null);
    await boss?.stop({ graceful: false, close: false });
  }

  async #state(executor: Executor, messageId: string): Promise<string | undefined> {
    const boss = await this.#boss();
    const [message] = await boss.findJobs(QUEUE, { id: messageId, db: fromKysely(executor) });
    return message?.state;
  }

  #boss(): Promise<PgBoss> {
    if (this.#isClosed) throw new StorageError("store_closed", "The training client is closed: make a new one.");
    this.#started ??= this.#open().catch((error: unknown) => {
      this.#started = null;
      throw error;
    });
    return this.#started;
  }

  async #open(): Promise<PgBoss> {
    const { pool } = this.#store;
    const boss = new PgBoss({
      db: { executeSql: async (text, values) => pool.query(text, values as unknown[] | undefined) },
      schema: SCHEMA,
      schedule: false,
      superviseIntervalSeconds: SUPERVISE_SECONDS,
      monitorIntervalSeconds: SUPERVISE_SECONDS,
      registerInstance: false,
      monitorVacuum: false,
      reindex: false,
      openTelemetry: { enabled: false },
    });
    boss.on("error", (error) => this.#logger.warn({ error: error.message }, "the training queue reported an error"));
    try {
      // Two first starts at the same time would both create the schema.
      await this.#store.withLock("training-queue", async () => {
        await boss.start();
        // Changes nothing where the queue exists, and puts it into pg-boss's cache: inside a transaction nothing may ask the pool.
        await boss.createQueue(QUEUE, {
          retryLimit: 1000,
          retryDelay: 0,
          heartbeatSeconds: HEARTBEAT_SECONDS,
          expireInSeconds: LONGEST_RUN_SECONDS,
          retentionSeconds: LONGEST_WAIT_SECONDS,
          deleteAfterSeconds: 3600,
        });
      });
    } catch (error) {
      await boss.stop({ graceful: false, close: false }).catch(() => {});
      throw mapDatabaseError(error, "of the training queue");
    }
    return boss;
  }
}
