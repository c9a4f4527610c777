import { ClaraError, ConfigurationError } from "../errors.js";
import type { RuntimeSpec, TrainResult } from "../types/runtime-protocol.js";
import { type BuiltSpec, buildEvaluateSpec, buildTrainSpec, type EvaluateRequest, type TrainRequest } from "./build-spec.js";
import type { ResolvedTrainingOptions } from "./client-options.js";
import { EventWriter } from "./event-writer.js";
import type { JobNotifier } from "./job-notifier.js";
import type { Delivery, JobQueue } from "./job-queue.js";
import { changeJob, type JobRow, lockJob, takeVersion } from "./job-records.js";
import { type NextStep, nextStep, type RunEnd, type StopReason } from "./next-step.js";
import { DETACH } from "./training-backend.js";

/** How often a running job's row is looked at for what people ask of it. */
const CONTROL_INTERVAL_MS = 500;
const HEARTBEAT_INTERVAL_MS = 3000;
/** Without a heartbeat for this long others may have the job: stop before they begin. */
const HEARTBEAT_LIMIT_MS = 9000;
const SETTLE_ATTEMPTS = 8;

/** A job that this worker holds. */
export interface Claim {
  row: JobRow;
  token: string;
  delivery: Delivery;
}

export interface RunContext {
  options: ResolvedTrainingOptions;
  queue: JobQueue;
  notifier: JobNotifier;
}

/** Runs a claimed job to whatever end, and writes that end down. Never rejects: a job it cannot settle is delivered again. */
export class JobRun {
  readonly #claim: Claim;
  readonly #context: RunContext;
  readonly #stopping = new AbortController();
  #reason: StopReason | null = null;
  #writer: EventWriter | null = null;
  #lastHeartbeatAt = Date.now();
  #isChecking = false;

  constructor(claim: Claim, context: RunContext) {
    this.#claim = claim;
    this.#context = context;
  }

  get jobId(): string {
    return this.#claim.row.id;
  }

  /** Ends the run; the job is put back and goes on elsewhere or later. */
  shutdown(): void {
    this.#stop("shutdown");
  }

  async run(): Promise<void> {
    const { options, notifier } = this.#context;
    const unsubscribe = notifier.subscribe((jobId) => {
      if (jobId === this.jobId) void this.#control();
    });
    const control = setInterval(() => void this.#control(), CONTROL_INTERVAL_MS);
    const timeout = setTimeout(() => this.#stop("timeout"), options.defaults.jobTimeoutMinutes * 60_000);
    try {
      const end = await this.#execute();
      clearTimeout(timeout);
      await this.#settle(end);
    } finally {
      clearTimeout(timeout);
      clearInterval(control);
      unsubscribe();
      this.#writer?.stop();
      notifier.notify(this.jobId);
    }
  }

  async #execute(): Promise<RunEnd> {
    const { options } = this.#context;
    try {
      const { spec, files } = await this.#spec();
      const { backend } = options;
      if (backend === null) throw new ConfigurationError("config_invalid", "This process has no training backend: give the client one.");
      const writer = new EventWriter({
        store: options.store,
        row: this.#claim.row,
        claimToken: this.#claim.token,
        spec,
        onWritten: (jobId) => this.#context.notifier.notify(jobId),
        onLost: () => this.#stop("lost"),
      });
      this.#writer = writer;
      const result = await backend.run(spec, files, {
        onEvent: (event) => writer.add(event),
        signal: this.#stopping.signal,
        resumeAfter: this.#claim.row.runtime_sequence,
      });
      return { kind: "result", result };
    } catch (error) {
      if (this.#reason !== null) return { kind: "stopped", reason: this.#reason };
      const freeVersion = await this.#freeVersion(error);
      return freeVersion === null ? { kind: "error", error } : { kind: "name_taken", freeVersion };
    }
  }

  async #spec(): Promise<BuiltSpec<RuntimeSpec>> {
    const { row } = this.#claim;
    const signal = this.#stopping.signal;
    if (row.kind === "evaluate") return buildEvaluateSpec(row.input as unknown as EvaluateRequest);
    return buildTrainSpec(row.input as unknown as TrainRequest, this.#context.options.datasets, { signal });
  }

  /** The next version that is free at the runtime, where the failure is that this one is not; a job's own adapter is no failure. */
  async #freeVersion(error: unknown): Promise<number | null> {
    const { row } = this.#claim;
    const { backend } = this.#context.options;
    if (!ClaraError.isInstance(error) || error.code !== "adapter_invalid" || row.kind !== "train" || !backend?.hasAdapter) return null;
    try {
      let version = row.version;
      while (await backend.hasAdapter(`${row.config_name}@v${version}`, { signal: this.#stopping.signal })) version += 1;
      return version === row.version ? null : version;
    } catch (failure) {
      this.#context.options.logger.warn({ jobId: row.id, error: String(failure) }, "could not ask which adapter names are taken");
      return null;
    }
  }

  #stop(reason: StopReason): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    // A job that goes on elsewhere keeps its trainer where the backend can let go of it.
    this.#stopping.abort(reason === "lost" || reason === "shutdown" ? DETACH : new Error(reason));
  }

  async #control(): Promise<void> {
    if (this.#isChecking || this.#reason !== null) return;
    this.#isChecking = true;
    try {
      const { options, queue } = this.#context;
      if (Date.now() - this.#lastHeartbeatAt > HEARTBEAT_INTERVAL_MS) {
        const begun = Date.now();
        if (!(await queue.heartbeat(this.#claim.delivery))) return this.#stop("lost");
        this.#lastHeartbeatAt = begun;
      }
      const row = await options.store.db
        .selectFrom("training_jobs")
        .select(["request", "claim_token", "status"])
        .where("id", "=", this.jobId)
        .executeTakeFirst();
      if (row === undefined || row.claim_token !== this.#claim.token || row.status !== "running") this.#stop("lost");
      else if (row.request !== null) this.#stop(row.request);
    } catch (error) {
      warnOfDatabase(this.#context, this.jobId, error);
      if (Date.now() - this.#lastHeartbeatAt > HEARTBEAT_LIMIT_MS) this.#stop("lost");
    } finally {
      this.#isChecking = false;
    }
  }

  async #settle(end: RunEnd): Promise<void> {
    for (let attempt = 1; attempt <= SETTLE_ATTEMPTS; attempt += 1) {
      try {
        await this.#writer?.flush();
        await this.#context.options.store.db.transaction().execute(async (transaction) => {
          const row = await lockJob(transaction, this.jobId);
          if (row === undefined || row.claim_token !== this.#claim.token || row.status !== "running") return;
          const step = nextStep(end, row, this.#context.options.defaults, row.id);
          await this.#write(transaction, row, step);
        });
        return;
      } catch (error) {
        warnOfDatabase(this.#context, this.jobId, error);
        await new Promise((resolve) => setTimeout(resolve, Math.min(4000, 250 * 2 ** attempt)));
        await this.#keepAlive();
      }
    }
    this.#context.options.logger.error({ jobId: this.jobId }, "the end of a job could not be written; it will be delivered again");
  }

  async #keepAlive(): Promise<void> {
    try {
      await this.#context.queue.heartbeat(this.#claim.delivery);
    } catch (error) {
      warnOfDatabase(this.#context, this.jobId, error);
    }
  }

  async #write(transaction: Parameters<JobQueue["complete"]>[0], row: JobRow, step: NextStep): Promise<void> {
    if (step.kind === "leave") return;
    const { queue, options } = this.#context;
    const job = { id: row.id, from: ["running"], claimToken: this.#claim.token } as const;
    const released = { claim_token: null, claimed_by: null, request: null, eta_seconds: null } as const;
    const ended = { ...released, message_id: null, completed_at: new Date() };
    switch (step.kind) {
      case "complete": {
        const { evaluation, ...result } = step.result;
        await changeJob(transaction, job, {
          ...ended,
          status: "completed",
          phase: null,
          progress_percent: 100,
          adapter_path: step.result.kind === "train" ? (step.result as TrainResult).adapter_path : null,
          result: JSON.stringify(result),
          evaluation: JSON.stringify(evaluation),
          error: null,
        });
        break;
      }
      case "fail":
        await changeJob(transaction, job, {
          ...ended,
          status: "failed",
          error: JSON.stringify({ code: step.error.code, message: step.error.message }),
        });
        options.logger.warn({ jobId: row.id, code: step.error.code }, step.error.message);
        break;
      case "cancel":
        await changeJob(transaction, job, { ...ended, status: "cancelled" });
        break;
      case "pause":
        await changeJob(transaction, job, { ...released, status: "paused", message_id: null });
        break;
      case "rename": {
        const version = await takeVersion(transaction, row.config_name, step.version);
        const adapterName = `${row.config_name}@v${version}`;
        await changeJob(
          transaction,
          job,
          {
            ...released,
            status: "queued",
            message_id: await queue.send(transaction, row),
            version,
            adapter_name: adapterName,
            input: JSON.stringify({ ...row.input, adapterName }),
            phase: null,
          },
          [{ type: "log", level: "warning", message: `the runtime has another ${row.adapter_name} already; this becomes ${adapterName}` }],
        );
        break;
      }
      case "requeue": {
        const messageId = await queue.send(transaction, row, { delaySeconds: step.delaySeconds });
        const isWaiting = step.cause === "waiting";
        const message = isWaiting
          ? `waiting for the runtime, next try in ${step.delaySeconds} s: ${step.note}`
          : `tried again: ${step.note}`;
        await changeJob(
          transaction,
          job,
          {
            ...released,
            status: "queued",
            message_id: messageId,
            phase: isWaiting ? "waiting for runtime" : null,
            failures: row.failures + (step.cause === "failure" ? 1 : 0),
            waits: row.waits + (isWaiting ? 1 : 0),
            // a try that reached no trainer is none
            attempt: isWaiting && !this.#writer?.hasEvents ? Math.max(0, row.attempt - 1) : row.attempt,
          },
          [{ type: "log", level: step.cause === "shutdown" ? "info" : "warning", message }],
        );
        break;
      }
    }
    await queue.complete(transaction, this.#claim.delivery);
  }
}

function warnOfDatabase(context: RunContext, jobId: string, error: unknown): void {
  context.options.logger.warn(
    { jobId, error: error instanceof Error ? error.message : String(error) },
    "a running job's row could not be reached",
  );
}

/** Tells the back end to end what a worker that is gone may have left running there. */
export async function endLeftover(context: RunContext, jobId: string): Promise<void> {
  try {
    await context.options.backend?.cancel?.(jobId);
  } catch (error) {
    context.options.logger.warn({ jobId, error: String(error) }, "a job that was left behind could not be ended");
  }
}
