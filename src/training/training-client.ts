import { randomUUID } from "node:crypto";
import type { z } from "zod";
import {
  AbortedError,
  ClaraError,
  type ClaraErrorCode,
  ConfigurationError,
  ConflictError,
  NotFoundError,
  TrainingError,
  ValidationError,
} from "../errors.js";
import type { Executor } from "../store/store.js";
import type { CallOptions } from "../types/common.js";
import { type JobEvent, JobInput, type JobStatus, type TrainerType, type TrainingJob } from "../types/job.js";
import type { EvaluatedModel } from "../types/runtime-protocol.js";
import { assertTrainable, type EvaluateRequest, type EvaluationSetInput, type TrainRequest } from "./build-spec.js";
import { type ResolvedTrainingOptions, resolveTrainingOptions, type TrainingClientOptions } from "./client-options.js";
import { appendEvents, statusEvent } from "./job-events.js";
import { JobNotifier, notifyOthers } from "./job-notifier.js";
import { JobQueue } from "./job-queue.js";
import { changeJob, FRESH_RUN, type JobRow, lockJob, takeVersion } from "./job-records.js";
import { isTerminal } from "./job-state.js";
import { jobView, VIEW_COLUMNS } from "./job-view.js";
import { TrainingWorker } from "./training-worker.js";
import { jobNotFound, watchJob } from "./watch-job.js";

/** Which jobs to list; every field narrows. */
export interface JobFilter {
  status?: JobStatus | readonly JobStatus[];
  trainer?: TrainerType;
  configName?: string;
  datasetId?: string;
  createdBy?: string;
  /** 1..1000, default 100. */
  limit?: number;
  /** Default 0. */
  offset?: number;
}

/** How long `cancelJob` and `pauseJob` wait for the worker to obey before they answer all the same. */
const OBEY_LIMIT_MS = 10_000;
const SMALLEST_DATASET = 2;

/**
 * Training jobs in the database: created here, run by a worker of any process that has a back end, watched from anywhere.
 * @example
 * ```ts
 * const training = new TrainingClient({ store, backend: new RuntimeBackend(runtime), datasets, baseModel: "Qwen/Qwen3-8B" });
 * await training.startWorker();
 * const job = await training.createJob({ datasetId, configName: "support", trainer: "qlora" });
 * for await (const event of training.watch(job.id)) if (event.type === "metrics_update") console.log(event.metrics.loss);
 * ```
 */
export class TrainingClient implements AsyncDisposable {
  readonly #options: ResolvedTrainingOptions;
  readonly #queue: JobQueue;
  readonly #notifier: JobNotifier;
  readonly #worker: TrainingWorker;
  readonly #closing = new AbortController();

  constructor(options: TrainingClientOptions) {
    this.#options = resolveTrainingOptions(options);
    this.#queue = new JobQueue(options.store, this.#options.logger);
    this.#notifier = new JobNotifier(options.store, this.#options.logger);
    this.#worker = new TrainingWorker({ options: this.#options, queue: this.#queue, notifier: this.#notifier });
  }

  /**
   * Puts a job into the queue; row and message are written in one transaction. With `transaction` that one is the caller's.
   * @throws ValidationError `input_invalid`, `dataset_empty`, `dataset_too_small`, `capability_missing`; NotFoundError `dataset_not_found`
   * @example
   * ```ts
   * const job = await training.createJob({ datasetId, configName: "support", priority: 5, idempotencyKey: "cycle-7" });
   * ```
   */
  async createJob(input: JobInput, options: CallOptions & { transaction?: Executor } = {}): Promise<TrainingJob> {
    const signal = this.#signal(options.signal);
    const job = this.#parse(input);
    assertTrainable({ trainer: job.trainer, initAdapterPath: job.initAdapterPath });
    const known = await this.#byKey(job.idempotencyKey);
    if (known !== null) return known;
    await this.#checkDataset(job.datasetId, signal);
    await this.#queue.start();
    throwIfAborted(signal, "createJob");

    const id = randomUUID();
    const write = async (executor: Executor): Promise<TrainingJob | null> => {
      const version = await takeVersion(executor, job.configName);
      const adapterName = `${job.configName}@v${version}`;
      const { defaults, baseModel } = this.#options;
      const request: TrainRequest = {
        jobId: id,
        datasetId: job.datasetId,
        trainer: job.trainer,
        adapterName,
        baseModel,
        overrides: { checkpointEverySteps: defaults.checkpointEverySteps, ...defaults.overrides, ...job.overrides },
        initAdapterPath: job.initAdapterPath,
        replay: job.replay,
        regression: job.regression,
        baselineAdapterPath: job.baselineAdapterPath,
      };
      const row = await this.#insert(executor, {
        id,
        kind: "train",
        dataset_id: job.datasetId,
        config_name: job.configName,
        version,
        adapter_name: adapterName,
        trainer: job.trainer,
        priority: job.priority,
        idempotency_key: job.idempotencyKey ?? null,
        created_by: job.createdBy ?? null,
        input: JSON.stringify(request),
      });
      return row === null ? null : jobView(row);
    };
    const created =
      options.transaction === undefined ? await this.#options.store.db.transaction().execute(write) : await write(options.transaction);
    this.#notifier.notify(id);
    if (created !== null) return created;
    // another call with the same key was first
    const first = await this.#byKey(job.idempotencyKey, options.transaction);
    if (first === null)
      throw new ConflictError(
        "job_state_conflict",
        `Another job with the idempotency key ${job.idempotencyKey} is just being created: try again.`,
        { isRetryable: true },
      );
    return first;
  }

  /**
   * The job as it is now.
   * @throws NotFoundError `job_not_found`
   * @example
   * ```ts
   * const { status, progressPercent } = await training.getJob(id);
   * ```
   */
  async getJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    throwIfAborted(options.signal, "getJob");
    const row = await this.#visible().where("id", "=", id).executeTakeFirst();
    if (row === undefined) throw jobNotFound(id);
    return jobView(row);
  }

  /**
   * Jobs, newest first.
   * @example
   * ```ts
   * const running = await training.listJobs({ status: "running" });
   * ```
   */
  async listJobs(filter: JobFilter = {}, options: CallOptions = {}): Promise<TrainingJob[]> {
    throwIfAborted(options.signal, "listJobs");
    const limit = filter.limit ?? 100;
    const offset = filter.offset ?? 0;
    if (!Number.isInteger(limit) || limit < 1 || limit > 1000 || !Number.isInteger(offset) || offset < 0) {
      throw new ValidationError("input_invalid", "limit must be 1..1000 and offset 0 or more.", { details: { limit, offset } });
    }
    const rows = await this.#filtered(filter).orderBy("created_at", "desc").orderBy("id").limit(limit).offset(offset).execute();
    return rows.map(jobView);
  }

  /**
   * How many jobs the filter finds, without its limit and offset.
   * @example
   * ```ts
   * const total = await training.countJobs({ status: ["queued", "running"] });
   * ```
   */
  async countJobs(filter: JobFilter = {}, options: CallOptions = {}): Promise<number> {
    throwIfAborted(options.signal, "countJobs");
    const { count } = await this.#filtered(filter)
      .clearSelect()
      .select((expression) => expression.fn.countAll().as("count"))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /**
   * Ends the job: at once where it waits; a running trainer is told within a second, on whatever host. Resolves when it
   * ended, or after ten seconds with the job as it is then.
   * @throws ConflictError `job_state_conflict` where it had completed or failed
   * @example
   * ```ts
   * await training.cancelJob(id);
   * ```
   */
  async cancelJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return this.#end(id, "cancel", options.signal);
  }

  /**
   * Stops the job and keeps its checkpoint; `resumeJob` goes on from there. Resolves like `cancelJob`.
   * @throws ConflictError `job_state_conflict` where it has ended
   * @example
   * ```ts
   * await training.pauseJob(id);
   * ```
   */
  async pauseJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return this.#end(id, "pause", options.signal);
  }

  /**
   * Queues a paused job again.
   * @throws ConflictError `job_state_conflict` where it is not paused
   * @example
   * ```ts
   * await training.resumeJob(id);
   * ```
   */
  async resumeJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return this.#requeue(id, ["paused"], "resume", options.signal);
  }

  /**
   * Queues a failed or cancelled job again; it goes on from its last checkpoint, if it has one.
   * @throws ConflictError `job_state_conflict` where it neither failed nor was cancelled
   * @example
   * ```ts
   * await training.retryJob(id);
   * ```
   */
  async retryJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return this.#requeue(id, ["failed", "cancelled"], "retry", options.signal);
  }

  /**
   * The job's events from the first (or after `after`), in order and none twice, until it has ended.
   * @example
   * ```ts
   * for await (const event of training.watch(id, { after: lastSequence, signal })) show(event);
   * ```
   */
  watch(id: string, options: CallOptions & { after?: number } = {}): AsyncIterable<JobEvent> {
    return watchJob(this.#options.store, this.#notifier, id, { ...options, signal: this.#signal(options.signal) });
  }

  /**
   * Resolves when the job completed, failed or was cancelled; look at its `status`.
   * @throws NotFoundError `job_not_found`; AbortedError (the job goes on)
   * @example
   * ```ts
   * const { status, evaluation } = await training.waitFor(job.id);
   * ```
   */
  async waitFor(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    await this.#untilEnded(id, this.#signal(options.signal));
    return this.getJob(id);
  }

  /**
   * Evaluates adapters (null = the base model) on sets of questions. Goes through the queue, so that it counts against the
   * limit and runs wherever a worker is; starts this process's worker if it has a back end and none runs. Abort cancels it.
   * @throws TrainingError `evaluation_failed` or the runtime's own code
   * @example
   * ```ts
   * const [base] = await training.evaluate({ models: [{ name: "base", adapterPath: null }], sets: [{ name: "office", kind: "recall", items }] });
   * ```
   */
  async evaluate(
    input: { models: readonly { name: string; adapterPath: string | null }[]; sets: readonly EvaluationSetInput[]; priority?: number },
    options: CallOptions = {},
  ): Promise<EvaluatedModel[]> {
    const signal = this.#signal(options.signal);
    throwIfAborted(signal, "evaluate");
    if (input.models.length === 0 || !input.sets.some((set) => set.items.length > 0)) {
      throw new ValidationError("input_invalid", "An evaluation needs at least one model and one set with items.");
    }
    if (this.#options.backend !== null && !this.#worker.isRunning) await this.startWorker();
    await this.#queue.start();
    const id = randomUUID();
    const request: EvaluateRequest = {
      jobId: id,
      baseModel: this.#options.baseModel,
      models: input.models,
      sets: input.sets.filter((set) => set.items.length > 0),
      overrides: this.#options.defaults.overrides,
    };
    await this.#options.store.db.transaction().execute((transaction) =>
      this.#insert(transaction, {
        id,
        kind: "evaluate",
        dataset_id: null,
        config_name: "evaluation",
        version: 0,
        adapter_name: "",
        trainer: "lora",
        priority: input.priority ?? 5,
        idempotency_key: null,
        created_by: null,
        input: JSON.stringify(request),
      }),
    );
    this.#notifier.notify(id);
    try {
      await this.#untilEnded(id, signal);
    } catch (error) {
      if (signal.aborted && !this.#closing.signal.aborted) await this.#end(id, "cancel");
      throw error;
    }
    const row = await this.#options.store.db
      .selectFrom("training_jobs")
      .select(["status", "evaluation", "error"])
      .where("id", "=", id)
      .executeTakeFirst();
    if (row?.status === "completed" && row.evaluation !== null) return row.evaluation;
    throw new TrainingError(
      (row?.error?.code ?? "training_cancelled") as ClaraErrorCode,
      row?.error?.message ?? `Evaluation ${id} was cancelled.`,
      {
        details: { jobId: id },
      },
    );
  }

  /**
   * Begins to run jobs in this process.
   * @throws ConfigurationError `config_invalid` without a back end
   * @example
   * ```ts
   * await training.startWorker();
   * ```
   */
  async startWorker(options: CallOptions = {}): Promise<void> {
    throwIfAborted(this.#signal(options.signal), "startWorker");
    if (this.#options.backend === null) {
      throw new ConfigurationError(
        "config_invalid",
        "This client has no back end to train on: give it one, or start the worker in a process that has.",
      );
    }
    await this.#queue.start();
    this.#worker.start();
  }

  /**
   * Takes no more jobs. Jobs that still run after `graceMs` (default 0) are put back into the queue; they go on from their
   * checkpoint, or in the runtime that trains them, when a worker takes them.
   * @example
   * ```ts
   * await training.stopWorker({ graceMs: 60_000 });
   * ```
   */
  async stopWorker(options: { graceMs?: number } = {}): Promise<void> {
    await this.#worker.stop(options.graceMs ?? 0);
  }

  /** Stops the worker and what waits here, and lets go of the store, which stays open. Close it before the store. */
  async close(options: { graceMs?: number } = {}): Promise<void> {
    await this.stopWorker(options);
    this.#closing.abort(new AbortedError("The training client was closed."));
    await this.#notifier.close();
    await this.#queue.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #parse(input: JobInput): z.output<typeof JobInput> {
    const parsed = JobInput.safeParse(input);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      const field = issue?.path.join(".") || "input";
      throw new ValidationError("input_invalid", `${field}: ${issue?.message}`, { details: { field } });
    }
    if (!/^[a-z0-9]/.test(parsed.data.configName)) {
      throw new ValidationError(
        "input_invalid",
        "configName: begin with a lower-case letter or a digit; it becomes the adapter's folder.",
        {
          details: { field: "configName" },
        },
      );
    }
    return parsed.data;
  }

  async #checkDataset(id: string, signal: AbortSignal): Promise<void> {
    let dataset: Awaited<ReturnType<TrainingClientOptions["datasets"]["get"]>>;
    try {
      dataset = await this.#options.datasets.get(id, { signal });
    } catch (error) {
      if (ClaraError.isInstance(error) && error.code === "dataset_not_found") {
        throw new NotFoundError("dataset_not_found", `There is no dataset ${id}. Create it first, or list the datasets to see their ids.`, {
          cause: error,
          details: { id },
        });
      }
      throw error;
    }
    const rows = dataset.splits.train ?? 0;
    if (rows === 0) throw new ValidationError("dataset_empty", `Dataset ${id} has no rows to train on.`, { details: { id } });
    if (rows < SMALLEST_DATASET) {
      throw new ValidationError(
        "dataset_too_small",
        `Dataset ${id} has ${rows} row to train on; at least ${SMALLEST_DATASET} are needed.`,
        { details: { id, rows } },
      );
    }
  }

  async #byKey(key: string | undefined, executor: Executor = this.#options.store.db): Promise<TrainingJob | null> {
    if (key === undefined) return null;
    const row = await executor.selectFrom("training_jobs").select(VIEW_COLUMNS).where("idempotency_key", "=", key).executeTakeFirst();
    return row === undefined ? null : jobView(row);
  }

  async #insert(
    executor: Executor,
    values: Pick<
      JobRow,
      "id" | "kind" | "dataset_id" | "config_name" | "version" | "adapter_name" | "trainer" | "priority" | "idempotency_key" | "created_by"
    > & { input: string },
  ): Promise<JobRow | null> {
    const row = await executor
      .insertInto("training_jobs")
      .values({ ...values, status: "queued", metrics: "{}", last_sequence: 1 })
      .onConflict((conflict) => conflict.column("idempotency_key").doNothing())
      .returningAll()
      .executeTakeFirst();
    if (row === undefined) return null;
    const messageId = await this.#queue.send(executor, row);
    await executor.updateTable("training_jobs").set({ message_id: messageId }).where("id", "=", row.id).execute();
    await appendEvents(executor, row.id, 1, [statusEvent(row)]);
    await notifyOthers(executor, row.id);
    return row;
  }

  async #end(id: string, request: "cancel" | "pause", given?: AbortSignal): Promise<TrainingJob> {
    const signal = this.#signal(given);
    throwIfAborted(signal, `${request}Job`);
    const target = request === "cancel" ? "cancelled" : "paused";
    await this.#queue.start();
    const deadline = Date.now() + OBEY_LIMIT_MS;
    for (;;) {
      const status = await this.#options.store.db.transaction().execute(async (transaction) => {
        const row = await lockJob(transaction, id);
        if (row === undefined) throw jobNotFound(id);
        if (row.status === target) return target;
        if (row.request !== null && row.request !== request && row.status === "running" && request === "pause") return row.status;
        if (isTerminal(row.status)) throw stateConflict(id, row.status, request);
        const isHeld = row.status === "running" && row.message_id !== null && (await this.#queue.isHeld(transaction, row.message_id));
        if (isHeld) {
          if (row.request !== request) {
            await transaction.updateTable("training_jobs").set({ request }).where("id", "=", id).execute();
            await notifyOthers(transaction, id);
          }
          return row.status;
        }
        // it waits, or nobody works on it any more
        if (row.message_id !== null) await this.#queue.withdraw(transaction, row.message_id);
        const completed_at = request === "cancel" ? new Date() : null;
        await changeJob(
          transaction,
          { id, from: [row.status] },
          { status: target, request: null, message_id: null, claim_token: null, claimed_by: null, completed_at },
        );
        return target;
      });
      this.#notifier.notify(id);
      if (status === target) return this.#anyJob(id);
      const hasEnded = await this.#leavesRunning(id, Math.min(3000, deadline - Date.now()), signal);
      if (hasEnded || Date.now() >= deadline) return this.#anyJob(id);
    }
  }

  async #requeue(id: string, from: readonly JobStatus[], verb: "resume" | "retry", given?: AbortSignal): Promise<TrainingJob> {
    throwIfAborted(this.#signal(given), `${verb}Job`);
    await this.#queue.start();
    await this.#options.store.db.transaction().execute(async (transaction) => {
      const row = await lockJob(transaction, id);
      if (row === undefined || row.kind !== "train") throw jobNotFound(id);
      if (!from.includes(row.status)) throw stateConflict(id, row.status, verb);
      const messageId = await this.#queue.send(transaction, row);
      await changeJob(transaction, { id, from }, { ...FRESH_RUN, status: "queued", message_id: messageId });
    });
    this.#notifier.notify(id);
    return this.getJob(id);
  }

  /** True when the job is not running any more within the time. */
  async #leavesRunning(id: string, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    const unsubscribe = this.#notifier.subscribe(() => {});
    try {
      while (Date.now() < deadline) {
        throwIfAborted(signal, "cancelJob");
        const { status } = await this.#anyJob(id);
        if (status !== "running") return true;
        await this.#notifier.wait(id, Math.min(200, Math.max(0, deadline - Date.now())), signal);
      }
      return false;
    } finally {
      unsubscribe();
    }
  }

  async #untilEnded(id: string, signal: AbortSignal): Promise<void> {
    const row = await this.#options.store.db.selectFrom("training_jobs").select("last_sequence").where("id", "=", id).executeTakeFirst();
    if (row === undefined) throw jobNotFound(id);
    for await (const _ of watchJob(this.#options.store, this.#notifier, id, { after: row.last_sequence, signal })) {
      // only the end matters
    }
  }

  async #anyJob(id: string): Promise<TrainingJob> {
    const row = await this.#options.store.db.selectFrom("training_jobs").select(VIEW_COLUMNS).where("id", "=", id).executeTakeFirst();
    if (row === undefined) throw jobNotFound(id);
    return jobView(row);
  }

  #visible() {
    return this.#options.store.db.selectFrom("training_jobs").select(VIEW_COLUMNS).where("kind", "=", "train");
  }

  #filtered(filter: JobFilter) {
    let query = this.#visible();
    if (filter.status !== undefined)
      query = query.where("status", "in", typeof filter.status === "string" ? [filter.status] : filter.status);
    if (filter.trainer !== undefined) query = query.where("trainer", "=", filter.trainer);
    if (filter.configName !== undefined) query = query.where("config_name", "=", filter.configName);
    if (filter.datasetId !== undefined) query = query.where("dataset_id", "=", filter.datasetId);
    if (filter.createdBy !== undefined) query = query.where("created_by", "=", filter.createdBy);
    return query;
  }

  #signal(given?: AbortSignal): AbortSignal {
    return given === undefined ? this.#closing.signal : AbortSignal.any([given, this.#closing.signal]);
  }
}

function stateConflict(id: string, status: JobStatus, verb: string): ConflictError {
  return new ConflictError("job_state_conflict", `You cannot ${verb} job ${id}: it is ${status}.`, {
    details: { id, status },
  });
}

function throwIfAborted(signal: AbortSignal | undefined, call: string): void {
  if (signal?.aborted) throw new AbortedError(`${call} was aborted.`, { cause: signal.reason });
}
