import type { Updateable } from "kysely";
import { sql } from "kysely";
import type { Store } from "../store/store.js";
import type { TrainingJobRow } from "../store/tables/training.js";
import type { RuntimeEvent, RuntimeSpec } from "../types/runtime-protocol.js";
import { appendEvents, type NewJobEvent, statusEvent } from "./job-events.js";
import { notifyOfJob } from "./job-notifier.js";
import type { JobRow } from "./job-records.js";
import { phaseProgress, trainProgress } from "./progress.js";

/** Least time between two writes: short enough to be live, long enough to cost the database little. */
const INTERVAL_MS = 60;
const RETRY_MS = 1000;

/**
 * Writes a running job's events and its progress down, several at a time, while the claim holds. What could not be
 * written is tried again; it is also what a later run gets again, because `runtime_sequence` moves with it.
 */
export class EventWriter {
  readonly #store: Store;
  readonly #claimToken: string;
  readonly #onWritten: (jobId: string) => void;
  readonly #onLost: () => void;
  readonly #spec: RuntimeSpec;
  #row: JobRow;
  #patch: Updateable<TrainingJobRow> = {};
  #pending: NewJobEvent[] = [];
  #hasUpdate = false;
  #writing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #lastWriteAt = 0;
  #isLost = false;
  /** True once the runtime said anything in this run. */
  hasEvents = false;

  constructor(options: {
    store: Store;
    row: JobRow;
    claimToken: string;
    spec: RuntimeSpec;
    onWritten: (jobId: string) => void;
    onLost: () => void;
  }) {
    this.#store = options.store;
    this.#row = options.row;
    this.#claimToken = options.claimToken;
    this.#spec = options.spec;
    this.#onWritten = options.onWritten;
    this.#onLost = options.onLost;
  }

  /** Takes an event; never blocks, never throws. */
  add(event: RuntimeEvent): void {
    if (!this.hasEvents) this.#patch.waits = 0;
    this.hasEvents = true;
    // The end of the run writes the status and what it means; until then the last event is told again to whoever takes over.
    if (event.type === "result" || event.type === "error") return;
    this.#patch.runtime_sequence = event.seq;
    switch (event.type) {
      case "phase":
        Object.assign(this.#patch, { phase: event.phase, progress_percent: this.#atLeast(phaseProgress(event.phase, this.#spec)) });
        this.#hasUpdate = true;
        break;
      case "progress":
        Object.assign(this.#patch, {
          step: event.step,
          total_steps: event.total_steps,
          current_epoch: event.epoch,
          total_epochs: event.total_epochs,
          eta_seconds: event.eta_seconds,
          progress_percent: this.#atLeast(trainProgress(event, this.#spec)),
        });
        this.#hasUpdate = true;
        break;
      case "metrics": {
        const metrics = metricsOf(event);
        this.#patch.metrics = JSON.stringify(metrics);
        this.#pending.push({ type: "metrics_update", step: event.step, metrics });
        break;
      }
      case "log":
        this.#pending.push({ type: "log", level: event.level, message: event.message });
        break;
      case "checkpoint":
        // whatever fails now loses less than was won: the count of tries begins anew
        this.#patch.failures = 0;
        this.#pending.push({ type: "log", level: "info", message: `checkpoint at step ${event.step}` });
        break;
    }
    this.#schedule();
  }

  /** Writes what is left. Rejects where the database does not take it. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.#writing?.catch(() => {});
    await this.#write();
  }

  /** Forgets what was not written: the claim is gone or the job is put back. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isLost = true;
  }

  #atLeast(percent: number): number {
    const before = (this.#patch.progress_percent as number | undefined) ?? this.#row.progress_percent;
    return Math.max(before, percent);
  }

  #schedule(delayMs = Math.max(0, this.#lastWriteAt + INTERVAL_MS - Date.now())): void {
    if (this.#timer !== null || this.#writing !== null || this.#isLost) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#writing = this.#write()
        .then(() => true)
        .catch(() => false)
        .then((isWritten) => {
          this.#writing = null;
          if (Object.keys(this.#patch).length > 0) this.#schedule(isWritten ? undefined : RETRY_MS);
        });
    }, delayMs);
  }

  async #write(): Promise<void> {
    if (this.#isLost || Object.keys(this.#patch).length === 0) return;
    const patch = this.#patch;
    const pending = this.#pending;
    const hasUpdate = this.#hasUpdate;
    this.#patch = {};
    this.#pending = [];
    this.#hasUpdate = false;
    try {
      const row = await this.#store.db.transaction().execute(async (transaction) => {
        const count = pending.length + (hasUpdate ? 1 : 0);
        const row = await transaction
          .updateTable("training_jobs")
          .set({ ...patch, updated_at: sql<Date>`now()`, last_sequence: sql<number>`last_sequence + ${count}` })
          .where("id", "=", this.#row.id)
          .where("status", "=", "running")
          .where("claim_token", "=", this.#claimToken)
          .returningAll()
          .executeTakeFirst();
        if (row === undefined) return undefined;
        await appendEvents(transaction, row.id, row.last_sequence, hasUpdate ? [...pending, statusEvent(row)] : pending);
        if (count > 0) await notifyOfJob(transaction, row.id);
        return row;
      });
      this.#lastWriteAt = Date.now();
      if (row === undefined) {
        this.stop();
        this.#onLost();
        return;
      }
      this.#row = row;
      this.#onWritten(row.id);
    } catch (error) {
      this.#patch = { ...patch, ...this.#patch };
      this.#pending = [...pending, ...this.#pending];
      this.#hasUpdate ||= hasUpdate;
      throw error;
    }
  }
}

function metricsOf(event: Extract<RuntimeEvent, { type: "metrics" }>): Record<string, number> {
  const perplexity = Math.exp(event.loss);
  const metrics: Record<string, number | null> = {
    loss: event.loss,
    perplexity: Number.isFinite(perplexity) ? perplexity : null,
    learningRate: event.learning_rate,
    gradNorm: event.grad_norm,
    tokensPerSecond: event.tokens_per_second,
  };
  return Object.fromEntries(Object.entries(metrics).filter((entry): entry is [string, number] => entry[1] !== null));
}
