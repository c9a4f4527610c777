import { setTimeout as delay } from "node:timers/promises";
import { AbortedError, ClaraError } from "../errors.js";
import type { LearningCycle, StageName } from "../types/cycle.js";
import type { FeedbackBuffer } from "./buffer.js";
import { type CycleRow, stateOf } from "./cycle-record.js";
import { collect } from "./cycle-start.js";
import { CycleCancelled, type CycleStore, LeaseLost } from "./cycle-store.js";
import type { BatchScreen } from "./held-feedback.js";
import { settleSamples } from "./sample-ledger.js";
import { activate } from "./stages/activate.js";
import { augment } from "./stages/augment.js";
import { evaluate } from "./stages/evaluate.js";
import { gate } from "./stages/gate.js";
import { prepare } from "./stages/prepare.js";
import { rollback } from "./stages/rollback.js";
import type { Stage, StageContext, StageParts, StageResult } from "./stages/stage.js";
import { train } from "./stages/train.js";

const STAGES: Readonly<Record<Exclude<StageName, "collect">, Stage>> = { augment, prepare, train, evaluate, gate, activate, rollback };

const MAX_RETRY_DELAY_MS = 300_000;
/** Retryable errors of other kinds than an absent runtime are met so often before the cycle fails. */
const MAX_STAGE_ATTEMPTS = 6;
const POLL_MS = 250;

/** Drives cycles from stage to stage: each stage's end is one transaction, so that any process goes on where another stopped. */
export class CycleRunner {
  readonly #parts: StageParts;
  readonly #cycles: CycleStore;
  readonly #buffer: FeedbackBuffer;
  readonly #screens: readonly BatchScreen[];
  readonly #driving = new Map<string, Promise<void>>();
  #stopping = new AbortController();

  constructor(parts: StageParts, cycles: CycleStore, buffer: FeedbackBuffer, screens: readonly BatchScreen[]) {
    this.#parts = parts;
    this.#screens = screens;
    this.#cycles = cycles;
    this.#buffer = buffer;
  }

  /** Ids of the cycles that this process drives. */
  get active(): string[] {
    return [...this.#driving.keys()];
  }

  /** Starts a cycle and drives it in the background. */
  async start(domain: string, trigger: LearningCycle["trigger"]): Promise<string> {
    if (this.#stopping.signal.aborted) this.#stopping = new AbortController();
    // before the transaction that claims: an embedder may be slow
    for (const screen of this.#screens) await screen.apply(domain, { signal: this.#stopping.signal });
    await this.#parts.options.failpoint?.("collect.started");
    const id = await this.#parts.store.db
      .transaction()
      .execute((transaction) => collect(transaction, { domain, trigger }, this.#cycles, this.#parts.options));
    await this.#parts.options.failpoint?.("collect.committed");
    await this.#announce(id);
    this.drive(id);
    return id;
  }

  /** Drives a cycle in the background, if nobody else does. */
  drive(id: string): void {
    if (this.#driving.has(id) || this.#stopping.signal.aborted) return;
    const driving = this.#drive(id, this.#stopping.signal)
      .catch((error: unknown) =>
        this.#parts.events.emit("error", { error, context: "a learning cycle stopped and will be taken up again", cycleId: id }),
      )
      .finally(() => this.#driving.delete(id));
    this.#driving.set(id, driving);
  }

  /** Takes up cycles that a crashed process left, or whose wait is over. */
  async takeUpOrphans(): Promise<void> {
    if (this.#stopping.signal.aborted) this.#stopping = new AbortController();
    for (const id of await this.#cycles.findOrphans()) this.drive(id);
  }

  /** Resolves when the cycle has ended, whoever drives it. An abort ends the waiting, not the cycle. */
  async untilEnded(id: string, signal?: AbortSignal): Promise<LearningCycle> {
    for (;;) {
      const cycle = await this.#cycles.get(id);
      if (cycle.endedAt !== null) {
        await this.#driving.get(id); // its last news (events, the router's memory) come after its last commit
        return cycle;
      }
      await this.takeUpOrphans();
      await delay(POLL_MS, undefined, { signal }).catch(() => {
        throw new AbortedError(`Waiting for cycle ${id} was aborted; the cycle goes on.`, { details: { cycleId: id } });
      });
    }
  }

  /** Lets every cycle go at its next step; another process, or the next start, goes on. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#driving.values());
  }

  async #drive(id: string, stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      const row = await this.#cycles.acquire(id);
      if (row === null) return;
      const waitMs = await this.#runStage(row, stopping);
      if (waitMs === null) return;
      if (waitMs > 0) await delay(waitMs, undefined, { signal: stopping, ref: false }).catch(() => {});
    }
    await this.#cycles.release(id);
  }

  /** Runs the cycle's present stage; gives the milliseconds until the next step, null where there is none here. */
  async #runStage(row: CycleRow, stopping: AbortSignal): Promise<number | null> {
    const { id } = row;
    const stage = row.stage as Exclude<StageName, "collect">;
    const heartbeat = this.#startHeartbeat(id);
    const signal = AbortSignal.any([stopping, heartbeat.signal]);
    try {
      await this.#cycles.update(this.#parts.store.db, id, {});
      await this.#cycles.beginStage(this.#parts.store.db, id, stage);
      await this.#failpoint(`${stage}.started`);
      const result = await STAGES[stage](this.#context(row, signal));
      await this.#failpoint(`${stage}.ended`);
      await this.#commit(row, stage, result);
      await this.#afterCommit(id, stage, result);
      return result.next === null ? null : 0;
    } catch (error) {
      return this.#onError(row, stage, heartbeat.signal.aborted ? heartbeat.signal.reason : error, stopping);
    } finally {
      heartbeat.stop();
    }
  }

  async #commit(row: CycleRow, stage: StageName, result: StageResult): Promise<void> {
    await this.#parts.store.db.transaction().execute(async (transaction) => {
      const { end } = result;
      const now = this.#cycles.now();
      await this.#cycles.update(transaction, row.id, { ...result.patch, status: "running", stage: result.next, attempts: 0 }, result.state);
      await result.commit?.(transaction);
      await this.#cycles.endStage(transaction, row.id, stage, result.detail);
      if (end === undefined) return;
      await settleSamples(transaction, { cycleId: row.id, end: end.samples, now });
      await this.#end(transaction, row.id, end.status, end.error);
    });
  }

  /** What is committed stays so: a failure to tell others is only reported. */
  async #afterCommit(id: string, stage: StageName, result: StageResult): Promise<void> {
    try {
      await this.#failpoint(`${stage}.committed`);
      await result.after?.();
      await this.#announce(id);
    } catch (error) {
      this.#parts.events.emit("error", { error, context: `the end of the stage ${stage} could not be announced`, cycleId: id });
    }
  }

  async #end(
    executor: Parameters<CycleStore["update"]>[0],
    id: string,
    status: LearningCycle["status"],
    error?: { code: string; message: string },
  ): Promise<void> {
    await executor
      .updateTable("cycles")
      .set({
        status,
        stage: null,
        ended_at: this.#cycles.now(),
        owner: null,
        lease_until: null,
        ...(error === undefined ? {} : { error: JSON.stringify(error) }),
      })
      .where("id", "=", id)
      .where("owner", "=", this.#cycles.owner)
      .where("ended_at", "is", null)
      .execute();
  }

  async #onError(row: CycleRow, stage: StageName, error: unknown, stopping: AbortSignal): Promise<number | null> {
    const { id } = row;
    if (error instanceof LeaseLost) return null;
    if (error instanceof CycleCancelled) {
      await this.#cancel(row, error.message);
      return null;
    }
    if (stopping.aborted) {
      await this.#cycles.release(id);
      return null;
    }
    if (ClaraError.isInstance(error) && error.isRetryable && this.#mayRetry(error, row)) {
      const delayMs = Math.min(this.#parts.options.retryDelayMs * 2 ** Math.min(row.attempts, 20), MAX_RETRY_DELAY_MS);
      await this.#cycles.noteStage(id, stage, { waitingFor: { code: error.code, message: error.message, retryInMs: delayMs } });
      await this.#cycles.release(id, { status: "waiting", attempts: row.attempts + 1, delayMs });
      await this.#announce(id).catch(() => {}); // only news; the wait is on record
      return delayMs;
    }
    await this.#fail(row, stage, error);
    return null;
  }

  /** What is not there can come back at any time; other failures only so often. */
  #mayRetry(error: ClaraError, row: CycleRow): boolean {
    const isAbsence = ["runtime_unavailable", "engine_unavailable", "store_unavailable", "disk_full", "overloaded"].includes(error.code);
    return isAbsence || row.attempts + 1 < MAX_STAGE_ATTEMPTS;
  }

  async #fail(row: CycleRow, stage: StageName, error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    const reported = { code: ClaraError.isInstance(error) ? error.code : "internal", message: message.slice(0, 2000) };
    const { maxSampleAttempts } = this.#parts.options;
    await this.#parts.store.db.transaction().execute(async (transaction) => {
      await this.#cycles.update(transaction, row.id, {});
      await this.#cycles.endStage(transaction, row.id, stage, { error: reported });
      const reason = `in ${maxSampleAttempts} failed cycles, the last: ${reported.message}`;
      await settleSamples(transaction, {
        cycleId: row.id,
        end: { kind: "failed", reason, maxAttempts: maxSampleAttempts },
        now: this.#cycles.now(),
      });
      await this.#end(transaction, row.id, "failed", reported);
    });
    this.#parts.events.emit("error", { error, context: `the learning cycle of "${row.domain}" failed at ${stage}`, cycleId: row.id });
    await this.#announce(row.id);
  }

  async #cancel(row: CycleRow, reason: string): Promise<void> {
    const { training, router, store } = this.#parts;
    const latest = await store.db.selectFrom("cycles").selectAll().where("id", "=", row.id).executeTakeFirstOrThrow();
    if (latest.job_id !== null) await training.cancelJob?.(latest.job_id).catch(() => {}); // it may have ended: all that counts is that it does not run
    if (latest.adapter_id !== null) await router.rejectAdapter(latest.adapter_id, reason).catch(() => {}); // it may never have been registered
    await store.db.transaction().execute(async (transaction) => {
      await settleSamples(transaction, { cycleId: row.id, end: { kind: "inconclusive" }, now: this.#cycles.now() });
      await this.#end(transaction, row.id, "cancelled", { code: "aborted", message: reason });
    });
    await this.#announce(row.id);
  }

  #context(row: CycleRow, signal: AbortSignal): StageContext {
    return {
      ...this.#parts,
      cycle: row,
      state: stateOf(row),
      signal,
      now: () => this.#cycles.now(),
      update: async (patch, state) => {
        await this.#cycles.update(this.#parts.store.db, row.id, patch, state);
      },
      note: (detail) => this.#cycles.noteStage(row.id, row.stage as StageName, detail),
      failpoint: (name) => this.#failpoint(name),
      view: () => this.#cycles.get(row.id),
    };
  }

  /** Keeps the lease while a stage runs; its signal says that the lease is lost or the cycle cancelled. */
  #startHeartbeat(id: string): { signal: AbortSignal; stop(): void } {
    const controller = new AbortController();
    const { leaseMs } = this.#parts.options;
    let lastBeat = Date.now();
    const timer = setInterval(
      () => {
        this.#cycles
          .heartbeat(id)
          .then(() => {
            lastBeat = Date.now();
          })
          .catch((error: unknown) => {
            const isOver = error instanceof LeaseLost || error instanceof CycleCancelled;
            if (isOver) controller.abort(error);
            else if (Date.now() - lastBeat > leaseMs) controller.abort(new LeaseLost("the lease could not be lengthened"));
          });
      },
      Math.min(leaseMs / 3, 5_000),
    ).unref();
    return { signal: controller.signal, stop: () => clearInterval(timer) };
  }

  async #failpoint(name: string): Promise<void> {
    await this.#parts.options.failpoint?.(name);
  }

  async #announce(id: string): Promise<void> {
    await this.#buffer.refresh();
    this.#parts.events.emit("cycle.updated", { cycle: await this.#cycles.get(id) });
  }
}
