import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { sql } from "kysely";
import { changeJob, type JobRow, lockJob } from "./job-records.js";
import { isTerminal } from "./job-state.js";
import { type Claim, endLeftover, JobRun, type RunContext } from "./run-job.js";

const POLL_MS = 1000;
/** Where NOTIFY reaches this process, polling only catches what it lost. */
const LISTENING_POLL_MS = 2000;
const LONGEST_PAUSE_AFTER_ERROR_MS = 10_000;
const RECONCILE_INTERVAL_MS = 15_000;
const CLEANUP_INTERVAL_MS = 3600_000;

/** Takes jobs from the queue and runs them, as many at once as the limit over all processes allows. */
export class TrainingWorker {
  readonly #context: RunContext;
  readonly #runs = new Map<JobRun, Promise<void>>();
  readonly #name = `${hostname()}:${process.pid}`;
  #loop: Promise<void> | null = null;
  #isStopping = false;
  #wake: () => void = () => {};

  constructor(context: RunContext) {
    this.#context = context;
  }

  get isRunning(): boolean {
    return this.#loop !== null;
  }

  start(): void {
    if (this.#loop !== null) return;
    this.#isStopping = false;
    this.#loop = this.#work().finally(() => {
      this.#loop = null;
    });
  }

  /** Takes no more jobs; those that run may end within `graceMs`, then they are put back. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    await this.#loop;
    const ended = Promise.all(this.#runs.values());
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([ended, grace]);
    clearTimeout(timer);
    for (const run of this.#runs.keys()) run.shutdown();
    await Promise.all(this.#runs.values());
  }

  async #work(): Promise<void> {
    const { notifier, options } = this.#context;
    const unsubscribe = notifier.subscribe(() => this.#wake());
    let errors = 0;
    let reconciledAt = 0;
    let cleanedAt = 0;
    try {
      while (!this.#isStopping) {
        const woken = this.#nextWake();
        try {
          if (Date.now() - reconciledAt > RECONCILE_INTERVAL_MS) {
            reconciledAt = Date.now();
            await this.#reconcile();
          }
          if (Date.now() - cleanedAt > CLEANUP_INTERVAL_MS) {
            cleanedAt = Date.now();
            await this.#cleanUp();
          }
          while (!this.#isStopping && this.#runs.size < options.defaults.maxConcurrentJobs) {
            const claim = await this.#claim();
            if (claim === "none") break;
            if (claim !== "stale") this.#begin(claim);
          }
          errors = 0;
          await this.#pause(woken, notifier.isListening ? LISTENING_POLL_MS : POLL_MS);
        } catch (error) {
          errors += 1;
          options.logger.warn(
            { error: error instanceof Error ? error.message : String(error) },
            "the training worker could not reach its queue",
          );
          await this.#pause(this.#nextWake(), Math.min(LONGEST_PAUSE_AFTER_ERROR_MS, 500 * 2 ** errors));
        }
      }
    } finally {
      unsubscribe();
    }
  }

  #begin(claim: Claim): void {
    const run = new JobRun(claim, this.#context);
    const ended = run.run().finally(() => {
      this.#runs.delete(run);
      this.#wake();
    });
    this.#runs.set(run, ended);
    this.#context.notifier.notify(claim.row.id);
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #pause(woken: Promise<void>, ms: number): Promise<void> {
    if (this.#isStopping) return;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([woken, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))]);
    clearTimeout(timer);
  }

  /** One transaction takes the message and the row, or neither. */
  async #claim(): Promise<Claim | "none" | "stale"> {
    const { queue, options } = this.#context;
    const token = randomUUID();
    let leftover: string | null = null;
    const claim = await options.store.db.transaction().execute(async (transaction) => {
      const delivery = await queue.fetch(transaction, options.defaults.maxConcurrentJobs);
      if (delivery === null) return "none";
      const row = await lockJob(transaction, delivery.jobId);
      const isExpected = row?.message_id === delivery.id && (row.status === "queued" || row.status === "running");
      if (row === undefined || !isExpected) {
        await queue.complete(transaction, delivery);
        return "stale";
      }
      if (row.request !== null) {
        const status = row.request === "cancel" ? "cancelled" : "paused";
        await this.#end(transaction, row, { status, request: null, completed_at: status === "cancelled" ? new Date() : null });
        await queue.complete(transaction, delivery);
        if (row.attempt > 0) leftover = row.id;
        return "stale";
      }
      // It was running and is delivered again: its worker's heartbeat stopped.
      const lost = row.lost_workers + (row.status === "running" ? 1 : 0);
      if (lost > options.defaults.maxLostWorkers) {
        const message = `Job ${row.id} failed: ${lost} workers died while running it. Look at their logs, then retry it.`;
        await this.#end(transaction, row, {
          status: "failed",
          completed_at: new Date(),
          error: JSON.stringify({ code: "training_failed", message }),
        });
        await queue.complete(transaction, delivery);
        leftover = row.id;
        return "stale";
      }
      const takenOver =
        row.status === "running" ? [{ type: "log", level: "warning", message: "taken over from a worker that vanished" } as const] : [];
      const claimed = await changeJob(
        transaction,
        { id: row.id, from: ["queued", "running"] },
        {
          status: "running",
          claim_token: token,
          claimed_by: this.#name,
          lost_workers: lost,
          attempt: row.attempt + 1,
          started_at: row.started_at ?? new Date(),
          phase: null,
        },
        takenOver,
      );
      return claimed === undefined ? "stale" : { row: claimed, token, delivery };
    });
    if (leftover !== null) await endLeftover(this.#context, leftover);
    return claim;
  }

  async #end(transaction: Parameters<typeof changeJob>[0], row: JobRow, patch: Parameters<typeof changeJob>[2]): Promise<void> {
    await changeJob(transaction, { id: row.id, from: [row.status] }, { ...patch, claim_token: null, claimed_by: null, message_id: null });
  }

  /** Gives every waiting or running job whose message is gone a new one: an emptied queue loses nothing. */
  async #reconcile(): Promise<void> {
    const { queue, options } = this.#context;
    const rows = await options.store.db
      .selectFrom("training_jobs")
      .select(["id", "message_id"])
      .where("status", "in", ["queued", "running"])
      // one being created or settled right now is not stranded
      .where("updated_at", "<", sql<Date>`now() - interval '20 seconds'`)
      .execute();
    for (const { id } of rows) {
      await options.store.db.transaction().execute(async (transaction) => {
        const row = await lockJob(transaction, id);
        if (row === undefined || isTerminal(row.status) || row.status === "paused") return;
        if (row.message_id !== null && (await queue.isAlive(transaction, row.message_id))) return;
        const messageId = await queue.send(transaction, row);
        await changeJob(
          transaction,
          { id, from: [row.status] },
          { status: "queued", message_id: messageId, claim_token: null, claimed_by: null },
          [{ type: "log", level: "warning", message: "its place in the queue was lost; queued again" }],
        );
      });
    }
  }

  async #cleanUp(): Promise<void> {
    const { store, defaults } = this.#context.options;
    const keep = `${defaults.cleanupDays} days`;
    await store.db
      .deleteFrom("training_jobs")
      .where("status", "in", ["completed", "failed", "cancelled"])
      .where("completed_at", "<", sql<Date>`now() - ${keep}::interval`)
      .execute();
  }
}
