import { randomUUID } from "node:crypto";
import { AbortedError, type ClaraErrorCode, ConfigurationError, TrainingError, ValidationError } from "../errors.js";
import type { Executor } from "../store/store.js";
import type { CallOptions } from "../types/common.js";
import type { JobEvent, JobInput, TrainingJob } from "../types/job.js";
import type { EvaluatedModel } from "../types/runtime-protocol.js";
import { throwIfAborted } from "./abort.js";
import type { EvaluateRequest, EvaluationSetInput } from "./build-spec.js";
import { type ResolvedTrainingOptions, resolveTrainingOptions, type TrainingClientOptions } from "./client-options.js";
import { createJob, insertJob } from "./create-job.js";
import { eraseTextsOfJobs } from "./erase-texts.js";
import { endJob, requeueJob } from "./job-control.js";
import { countJobs, findJob, type JobFilter, listJobs } from "./job-list.js";
import { JobNotifier } from "./job-notifier.js";
import { JobQueue } from "./job-queue.js";
import type { RunContext } from "./run-job.js";
import { TrainingWorker } from "./training-worker.js";
import { jobNotFound, watchJob } from "./watch-job.js";

/**
 * Training jobs in the database: created here, run by a worker of any process that has a back end, watched from anywhere.
 * @example
 * ```ts
 * const training = new TrainingClient({ store, backend: new RuntimeBackend(runtime), datasets: clara.datasets, baseModel: "Qwen/Qwen3-8B" });
 * await training.startWorker();
 * const job = await training.createJob({ datasetId: id, configName: "support", trainer: "qlora" });
 * for await (const event of training.watch(job.id)) if (event.type === "metrics_update") console.log(event.metrics.loss);
 * ```
 */
export class TrainingClient implements AsyncDisposable {
  readonly #options: ResolvedTrainingOptions;
  readonly #queue: JobQueue;
  readonly #notifier: JobNotifier;
  readonly #context: RunContext;
  readonly #worker: TrainingWorker;
  readonly #closing = new AbortController();

  constructor(options: TrainingClientOptions) {
    this.#options = resolveTrainingOptions(options);
    this.#queue = new JobQueue(options.store, this.#options.logger);
    this.#notifier = new JobNotifier(options.store.notifications);
    this.#context = { options: this.#options, queue: this.#queue, notifier: this.#notifier };
    this.#worker = new TrainingWorker(this.#context);
  }

  /**
   * Puts a job into the queue; row and message are written in one transaction. With `transaction` that one is the caller's.
   * @throws ValidationError `input_invalid`, `dataset_empty`, `dataset_too_small`, `capability_missing`; NotFoundError `dataset_not_found`
   * @example
   * ```ts
   * const job = await clara.training.createJob({ datasetId: id, configName: "support", priority: 5, idempotencyKey: "cycle-7" });
   * ```
   */
  async createJob(input: JobInput, options: CallOptions & { transaction?: Executor } = {}): Promise<TrainingJob> {
    return createJob(this.#context, input, { signal: this.#signal(options.signal), transaction: options.transaction });
  }

  /**
   * The job as it is now.
   * @throws NotFoundError `job_not_found`
   * @example
   * ```ts
   * const { status, progressPercent } = await clara.training.getJob(id);
   * ```
   */
  async getJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    throwIfAborted(options.signal, "getJob");
    return findJob(this.#options.store.db, id, "train");
  }

  /**
   * Jobs, newest first.
   * @example
   * ```ts
   * const running = await clara.training.listJobs({ status: "running" });
   * ```
   */
  async listJobs(filter: JobFilter = {}, options: CallOptions = {}): Promise<TrainingJob[]> {
    throwIfAborted(options.signal, "listJobs");
    return listJobs(this.#options.store.db, filter);
  }

  /**
   * How many jobs the filter finds, without its limit and offset.
   * @example
   * ```ts
   * const total = await clara.training.countJobs({ status: ["queued", "running"] });
   * ```
   */
  async countJobs(filter: JobFilter = {}, options: CallOptions = {}): Promise<number> {
    throwIfAborted(options.signal, "countJobs");
    return countJobs(this.#options.store.db, filter);
  }

  /**
   * Ends the job: at once where it waits; a running trainer is told within a second, on whatever host. Resolves when it
   * ended, or after ten seconds with the job as it is then.
   * @throws ConflictError `job_state_conflict` where it had completed or failed
   * @example
   * ```ts
   * await clara.training.cancelJob(id);
   * ```
   */
  async cancelJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return endJob(this.#context, id, "cancel", this.#signal(options.signal));
  }

  /**
   * Stops the job and keeps its checkpoint; `resumeJob` goes on from there. Resolves like `cancelJob`.
   * @throws ConflictError `job_state_conflict` where it has ended
   * @example
   * ```ts
   * await clara.training.pauseJob(id);
   * ```
   */
  async pauseJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return endJob(this.#context, id, "pause", this.#signal(options.signal));
  }

  /**
   * Queues a paused job again.
   * @throws ConflictError `job_state_conflict` where it is not paused
   * @example
   * ```ts
   * await clara.training.resumeJob(id);
   * ```
   */
  async resumeJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return requeueJob(this.#context, id, { from: ["paused"], verb: "resume" }, this.#signal(options.signal));
  }

  /**
   * Queues a failed or cancelled job again; it goes on from its last checkpoint, if it has one.
   * @throws ConflictError `job_state_conflict` where it neither failed nor was cancelled
   * @example
   * ```ts
   * await clara.training.retryJob(id);
   * ```
   */
  async retryJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return requeueJob(this.#context, id, { from: ["failed", "cancelled"], verb: "retry" }, this.#signal(options.signal));
  }

  /**
   * The job's events from the first (or after `after`), in order and none twice, until it has ended.
   * @example
   * ```ts
   * for await (const event of clara.training.watch(id, { after: 17, signal })) console.log(event.sequence);
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
   * const { status, evaluation } = await clara.training.waitFor(id);
   * ```
   */
  async waitFor(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    await this.#untilEnded(id, this.#signal(options.signal));
    return this.getJob(id);
  }

  /**
   * Takes what people wrote out of jobs: the rows beside the data set, the answers of their evaluation, the adapter's fingerprint. Their
   * figures stay. Unknown ids are passed over.
   * @returns jobs that were found
   * @example
   * ```ts
   * await clara.training.eraseTexts([id]);
   * ```
   */
  async eraseTexts(ids: readonly string[], options: CallOptions = {}): Promise<number> {
    throwIfAborted(this.#signal(options.signal), "eraseTexts");
    return eraseTextsOfJobs(this.#options.store, ids);
  }

  /**
   * Evaluates adapters (null = the base model) on sets of questions. Goes through the queue, so that it counts against the
   * limit and runs wherever a worker is; starts this process's worker if it has a back end and none runs. Abort cancels it.
   * @throws TrainingError `evaluation_failed` or the runtime's own code
   * @example
   * ```ts
   * const [base] = await clara.training.evaluate({
   *   models: [{ name: "base", adapterPath: null }],
   *   sets: [{ name: "office", kind: "recall", items: [{ id: "1", prompt: "Where is the office?", response: "In the yard." }] }],
   * });
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
      insertJob(transaction, this.#queue, {
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
      if (signal.aborted && !this.#closing.signal.aborted) await endJob(this.#context, id, "cancel", this.#closing.signal);
      throw error;
    }
    // nobody asks for it again, and it is full of texts
    const row = await this.#options.store.db
      .deleteFrom("training_jobs")
      .where("id", "=", id)
      .returning(["status", "evaluation", "error"])
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
   * await clara.training.startWorker();
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
   * await clara.training.stopWorker({ graceMs: 60_000 });
   * ```
   */
  async stopWorker(options: { graceMs?: number } = {}): Promise<void> {
    await this.#worker.stop(options.graceMs ?? 0);
  }

  /**
   * Stops the worker and what waits here, and lets go of the store, which stays open. Close it before the store.
   * @example
   * ```ts
   * await clara.training.close({ graceMs: 60_000 });
   * ```
   */
  async close(options: { graceMs?: number } = {}): Promise<void> {
    await this.stopWorker(options);
    this.#closing.abort(new AbortedError("The training client was closed."));
    this.#notifier.close();
    await this.#queue.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #untilEnded(id: string, signal: AbortSignal): Promise<void> {
    const row = await this.#options.store.db.selectFrom("training_jobs").select("last_sequence").where("id", "=", id).executeTakeFirst();
    if (row === undefined) throw jobNotFound(id);
    for await (const _ of watchJob(this.#options.store, this.#notifier, id, { after: row.last_sequence, signal })) {
      // only the end matters
    }
  }

  #signal(given?: AbortSignal): AbortSignal {
    return given === undefined ? this.#closing.signal : AbortSignal.any([given, this.#closing.signal]);
  }
}
