import { AbortedError, ConfigurationError, ConflictError, OverloadedError, ValidationError } from "../errors.js";
import { type CallOptions, DEFAULT_DOMAIN, Slug } from "../types/common.js";
import type { LearningCycle } from "../types/cycle.js";
import type { FeedbackChange, FeedbackInput, FeedbackReceipt } from "../types/feedback.js";
import { amendmentOf, isChangedMeanwhile } from "./amendment.js";
import { FeedbackBuffer } from "./buffer.js";
import { CanaryBoard } from "./canary/canary-board.js";
import { CycleRunner } from "./cycle-runner.js";
import { type CycleFilter, CycleStore } from "./cycle-store.js";
import { type ErasureOptions, type ErasureParts, type ErasureReport, eraseSubject, resumeErasures } from "./erasure.js";
import { ErasureLog } from "./erasure-log.js";
import { PipelineEmitter, type PipelineEvents } from "./events.js";
import { type ImportOptions, type ImportResult, importLines } from "./feedback-import.js";
import { FeedbackIntake, type UnreadableFeedback } from "./feedback-intake.js";
import { reapplyErasures, recoverFromJournal } from "./feedback-recovery.js";
import { batchScreens } from "./firewall/batch-screens.js";
import { Firewall } from "./firewall/firewall.js";
import { heldOutQuestions } from "./general-set.js";
import { type IntakeMetrics, readIntakeMetrics } from "./intake-metrics.js";
import { IntakeWriter } from "./intake-writer.js";
import { type Ledger, readLedger } from "./ledger.js";
import { type ResolvedPipelineOptions, resolvePipelineOptions } from "./pipeline-options.js";
import type { PipelineParts, PipelineStatus } from "./pipeline-parts.js";
import { ReviewQueue } from "./review.js";
import { TriggerWatch } from "./trigger-watch.js";
import { domainState } from "./triggers.js";

const METRICS_SPAN_MS = 30 * 24 * 3_600_000;

/**
 * Turns users' feedback into adapters that answer better: collects it durably, starts cycles by triggers, trains, evaluates,
 * and activates only what passes the gate.
 * @example
 * ```ts
 * await clara.pipeline.start();
 * await clara.pipeline.addFeedback({ generationId: reply.id, rating: -1, correction: "The fee is 12 euros.", subjectId: user.id });
 * clara.pipeline.on("adapter.activated", ({ adapterId, domain }) => console.log(`${adapterId} serves ${domain}`));
 * ```
 */
export class ContinuousLearningPipeline implements AsyncDisposable {
  /** The samples that wait. */
  readonly buffer: FeedbackBuffer;
  /** Doubtful feedback that waits for a person. */
  readonly review: ReviewQueue;
  /** Versions on trial. */
  readonly canaries: CanaryBoard;
  readonly #parts: PipelineParts;
  readonly #options: ResolvedPipelineOptions;
  readonly #events: PipelineEmitter;
  readonly #cycles: CycleStore;
  readonly #writer: IntakeWriter;
  readonly #erasureLog: ErasureLog | null;
  readonly #intake: FeedbackIntake;
  readonly #runner: CycleRunner;
  readonly #triggers: TriggerWatch;
  #recovering: Promise<number> | null = null;

  constructor(parts: PipelineParts) {
    for (const part of ["store", "datasets", "training", "router", "serving"] as const) {
      if (!parts?.[part])
        throw new ConfigurationError("config_invalid", `ContinuousLearningPipeline needs \`${part}\`; createClara gives it.`);
    }
    this.#parts = parts;
    this.#options = resolvePipelineOptions(parts.options);
    const { name, logger, clock, leaseMs, bufferCapacity, reviewFrom, tenants, firewall, general } = this.#options;
    const { store, datasets, router, serving, generations } = parts;
    this.#events = new PipelineEmitter(logger);
    this.buffer = new FeedbackBuffer(store, name, bufferCapacity);
    this.#cycles = new CycleStore(store, name, { leaseMs, clock });
    this.canaries = new CanaryBoard({ store, router, serving, events: this.#events, options: this.#options.canary, clock });
    this.#writer = new IntakeWriter(store, this.buffer, {
      pipeline: name,
      options: firewall,
      areAlike: datasets.quality.areAlike?.bind(datasets.quality),
      clock,
    });
    const screen = new Firewall(firewall, heldOutQuestions(general));
    this.#intake = new FeedbackIntake({
      pipeline: name,
      writer: this.#writer,
      quality: datasets.quality,
      firewall: screen,
      generations,
      router,
      events: this.#events,
      reviewFrom,
      tenants,
      onCanaryRating: () => this.canaries.lookInBackground(),
      clock,
      logger,
    });
    this.#erasureLog = this.#options.erasureLog === undefined ? null : new ErasureLog(this.#options.erasureLog);
    const screens = batchScreens({ store, embedder: parts.embedder, firewall: screen, options: this.#options, events: this.#events });
    this.#runner = new CycleRunner({ ...parts, events: this.#events, options: this.#options }, this.#cycles, this.buffer, screens);
    this.#triggers = new TriggerWatch({
      buffer: this.buffer,
      runner: this.#runner,
      canaries: this.canaries,
      generations,
      resumeErasures: () => resumeErasures(this.#erasureParts(), {}),
      options: this.#options,
      events: this.#events,
    });
    const onAccepted = () => this.#triggers.noteAccepted();
    this.review = new ReviewQueue({ store, pipeline: name, buffer: this.buffer, firewall: screen, clock, onAccepted });
  }

  /**
   * Reads back what an embedded database lost in a power loss, and the counts; the first call of any other method does it by itself.
   * @returns journal entries that were read
   * @example
   * ```ts
   * await clara.pipeline.recover();
   * ```
   */
  async recover(options: CallOptions = {}): Promise<number> {
    throwIfAborted(options.signal);
    this.#recovering ??= this.#recover().catch((error: unknown) => {
      this.#recovering = null;
      throw error;
    });
    return this.#recovering;
  }

  /**
   * Starts the triggers, and goes on with cycles that were left. One timer; it keeps no process alive.
   * @example
   * ```ts
   * await clara.pipeline.start();
   * ```
   */
  async start(options: CallOptions = {}): Promise<void> {
    throwIfAborted(options.signal);
    await this.recover(options);
    await this.#runner.takeUpOrphans();
    this.#triggers.start();
  }

  /**
   * Stops the triggers and lets running cycles go at their next step; their training jobs go on. `start` takes them up again.
   * @example
   * ```ts
   * await clara.pipeline.stop();
   * ```
   */
  async stop(_options: CallOptions = {}): Promise<void> {
    this.#triggers.stop();
    await this.#triggers.idle();
    await this.#runner.stop();
    await this.#writer.idle();
    await this.canaries.idle();
  }

  /**
   * `stop`.
   * @example
   * ```ts
   * await clara.pipeline.close();
   * ```
   */
  async close(): Promise<void> {
    await this.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Takes one feedback; durable when it resolves, whether the runtime is up or not.
   * @throws ValidationError `feedback_invalid`, `payload_too_large`, `input_invalid` (another tenant's domain); NotFoundError `generation_not_found`; OverloadedError `buffer_full`; StorageError
   * @example
   * ```ts
   * const receipt = await clara.pipeline.addFeedback({ prompt: text, response: reply.text, rating: 1, subjectId: user.id });
   * if (receipt.status === "rejected") console.log(receipt.reason);
   * ```
   */
  async addFeedback(input: FeedbackInput, options: CallOptions = {}): Promise<FeedbackReceipt> {
    throwIfAborted(options.signal);
    await this.recover();
    return this.#add(input, options);
  }

  /**
   * Changes what somebody said: a new version, judged like any feedback. While the old one waits, the new one takes its place; what a
   * cycle has claimed or used stays in its books, and the new one is learnt next. A version that is rejected or a duplicate changes nothing.
   * The id of any version means the present one.
   * @throws ValidationError `input_invalid` for a field that cannot be changed; NotFoundError `feedback_not_found`; ConflictError `input_invalid` where it was
   * erased, rejected or a duplicate; as `addFeedback`
   * @example
   * ```ts
   * const receipt = await clara.pipeline.amendFeedback(id, { correction: "The fee is 12 euros and 50 cents." });
   * ```
   */
  async amendFeedback(id: string, change: FeedbackChange, options: CallOptions = {}): Promise<FeedbackReceipt> {
    throwIfAborted(options.signal);
    await this.recover();
    for (;;) {
      const { input, replaces } = await amendmentOf(this.#parts.store, this.#options.name, id, change);
      try {
        return await this.#add(input, { ...options, replaces });
      } catch (error) {
        // who came first has made another version: the change is made to that one
        if (!isChangedMeanwhile(error)) throw error;
      }
    }
  }

  /**
   * Imports JSON lines, for example a file. Bytes are a stream, cut anywhere; every string is one or more whole lines. A line that cannot
   * be read is recorded as rejected with its number; while the buffer is full it waits.
   * @example
   * ```ts
   * import { createReadStream } from "node:fs";
   * const { accepted, errors } = await clara.pipeline.importFeedback(createReadStream("feedback.jsonl"), {
   *   onProgress: ({ lines }) => console.log(`${lines} lines`),
   * });
   * ```
   */
  async importFeedback(
    lines: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
    options: ImportOptions = {},
  ): Promise<ImportResult> {
    await this.recover();
    const target = {
      add: (input: FeedbackInput, callOptions: CallOptions) => this.#add(input, { ...callOptions, isImport: true }),
      addUnreadable: (unreadable: UnreadableFeedback, callOptions: CallOptions) => this.#intake.addUnreadable(unreadable, callOptions),
    };
    return this.#triggers.hold(() => importLines(lines, target, options));
  }

  /**
   * Starts a cycle by hand: of the domain, or of the one in which most samples wait. With `wait` it resolves when the cycle has ended.
   * An abort ends the waiting, not the cycle.
   * @throws ValidationError `dataset_too_small` with the counts; ConflictError `cycle_running` with the cycle's id
   * @example
   * ```ts
   * const cycle = await clara.pipeline.triggerTrainingCycle({ domain: "building", wait: true });
   * console.log(cycle.status, cycle.gate?.reasons);
   * ```
   */
  async triggerTrainingCycle(request: CallOptions & { domain?: string; wait?: boolean } = {}): Promise<LearningCycle> {
    throwIfAborted(request.signal);
    await this.recover();
    const domain = request.domain ?? (await this.#fullestDomain());
    if (!Slug.safeParse(domain).success) {
      throw new ValidationError("input_invalid", "The domain must consist of lower-case letters, digits, '_' and '-'.", {
        details: { field: "domain" },
      });
    }
    let id: string;
    try {
      id = await this.#runner.start(domain, "manual");
    } catch (error) {
      // the one that runs may have been left by a crashed process
      if (error instanceof ConflictError) await this.#runner.takeUpOrphans();
      throw error;
    }
    return request.wait ? this.#runner.untilEnded(id, request.signal) : this.#cycles.get(id);
  }

  /**
   * Waits until a cycle has ended, whoever drives it.
   * @throws NotFoundError `cycle_not_found`
   * @example
   * ```ts
   * const { id } = await clara.pipeline.triggerTrainingCycle({ domain: "building" });
   * const { status } = await clara.pipeline.waitForCycle(id);
   * ```
   */
  async waitForCycle(id: string, options: CallOptions = {}): Promise<LearningCycle> {
    return this.#runner.untilEnded(id, options.signal);
  }

  /**
   * Looks at the triggers now, whether started or not.
   * @returns ids of the cycles that it started
   * @example
   * ```ts
   * const started = await clara.pipeline.checkTriggers();
   * ```
   */
  async checkTriggers(options: CallOptions = {}): Promise<string[]> {
    throwIfAborted(options.signal);
    await this.recover();
    return this.#triggers.look();
  }

  /**
   * Lists cycles, newest first.
   * @example
   * ```ts
   * const rejected = await clara.pipeline.listCycles({ status: "rejected", limit: 10 });
   * ```
   */
  async listCycles(filter: CycleFilter & CallOptions = {}): Promise<LearningCycle[]> {
    throwIfAborted(filter.signal);
    return this.#cycles.list(filter);
  }

  /**
   * One cycle with its stages.
   * @throws NotFoundError `cycle_not_found`
   * @example
   * ```ts
   * const { stages } = await clara.pipeline.getCycle(id);
   * ```
   */
  async getCycle(id: string, options: CallOptions = {}): Promise<LearningCycle> {
    throwIfAborted(options.signal);
    return this.#cycles.get(id);
  }

  /**
   * What the pipeline is doing, without asking the database.
   * @example
   * ```ts
   * clara.pipeline.status().activeCycles.length; // 1
   * ```
   */
  status(): PipelineStatus {
    return {
      name: this.#options.name,
      isRunning: this.#triggers.isRunning,
      activeCycles: this.#runner.active,
      buffer: this.buffer.stats(),
    };
  }

  /**
   * The books: counted from what is stored, so that a loss or a double use would show.
   * @example
   * ```ts
   * const { lost, usedTwice } = await clara.pipeline.ledger(); // 0, 0
   * ```
   */
  async ledger(options: CallOptions = {}): Promise<Ledger> {
    throwIfAborted(options.signal);
    await this.recover();
    return readLedger(this.#parts.store, this.#options.name);
  }

  /**
   * How feedback fared: acceptance, what decided, people, what waits.
   * @param since default: 30 days ago
   * @throws ValidationError `input_invalid`
   * @example
   * ```ts
   * const { acceptanceRate, byCode } = await clara.pipeline.intakeMetrics({ since: new Date("2026-11-01") });
   * ```
   */
  async intakeMetrics({ since, signal }: CallOptions & { since?: Date } = {}): Promise<IntakeMetrics> {
    throwIfAborted(signal);
    if (since !== undefined && !(since instanceof Date && Number.isFinite(since.getTime())))
      throw new ValidationError("input_invalid", "since must be a valid Date.", { details: { field: "since" } });
    await this.recover();
    return readIntakeMetrics(this.#parts.store, this.#options.name, since ?? new Date(this.#options.clock() - METRICS_SPAN_MS));
  }

  /**
   * Deletes what a person gave and takes every adapter that learnt from it out of service. With `tenant` only what they gave in its name:
   * another tenant's person may have the same id. What a crash interrupts is completed by a pipeline that was started, a minute later.
   * @example
   * ```ts
   * const { adapters } = await clara.pipeline.eraseSubject("user-17");
   * ```
   */
  async eraseSubject(subjectId: string, options: ErasureOptions = {}): Promise<ErasureReport> {
    throwIfAborted(options.signal);
    await this.recover();
    await this.#writer.idle();
    const report = await eraseSubject(subjectId, this.#erasureParts(), options);
    await this.buffer.refresh();
    return report;
  }

  #erasureParts(): ErasureParts {
    const { name, clock } = this.#options;
    return { ...this.#parts, generations: this.#parts.generations, pipeline: name, events: this.#events, log: this.#erasureLog, clock };
  }

  /**
   * Calls the listener at each event of the name; what it throws is logged and never breaks anything.
   * @example
   * ```ts
   * clara.pipeline.on("cycle.updated", ({ cycle }) => console.log(cycle.domain, cycle.status));
   * ```
   */
  on<Name extends keyof PipelineEvents>(name: Name, listener: PipelineEvents[Name]): this {
    this.#events.on(name, listener);
    return this;
  }

  /**
   * Like `on`, for the next event only.
   * @example
   * ```ts
   * clara.pipeline.once("adapter.activated", ({ adapterId }) => console.log(`${adapterId} is the first`));
   * ```
   */
  once<Name extends keyof PipelineEvents>(name: Name, listener: PipelineEvents[Name]): this {
    this.#events.once(name, listener);
    return this;
  }

  /**
   * Takes a listener off.
   * @example
   * ```ts
   * const listener = ({ domain }: { domain: string }) => console.log(domain);
   * clara.pipeline.on("adapter.activated", listener).off("adapter.activated", listener);
   * ```
   */
  off<Name extends keyof PipelineEvents>(name: Name, listener: PipelineEvents[Name]): this {
    this.#events.off(name, listener);
    return this;
  }

  async #add(input: FeedbackInput, options: CallOptions & { isImport?: boolean; replaces?: string }): Promise<FeedbackReceipt> {
    try {
      const receipt = await this.#intake.add(input, options);
      if (receipt.status === "accepted") this.#triggers.noteAccepted();
      return receipt;
    } catch (error) {
      if (error instanceof OverloadedError) this.#triggers.noteFull();
      throw error;
    }
  }

  async #recover(): Promise<number> {
    const { store } = this.#parts;
    const entries = await recoverFromJournal(store, this.#options.name);
    if (this.#erasureLog !== null) await reapplyErasures(store, this.#options.name, this.#erasureLog);
    if (store.kind === "embedded") await this.#cycles.dropForeignLeases();
    await this.buffer.refresh();
    return entries;
  }

  async #fullestDomain(): Promise<string> {
    const { triggers, bufferCapacity } = this.#options;
    const states = (await this.buffer.domainFacts()).map((facts) => domainState(facts, triggers, bufferCapacity));
    const best = states.sort((left, right) => right.eligible - left.eligible || right.waiting - left.waiting)[0];
    return best?.domain ?? DEFAULT_DOMAIN;
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortedError();
}
