import { ClaraError } from "../errors.js";
import type { FeedbackBuffer } from "./buffer.js";
import type { CanaryBoard } from "./canary/canary-board.js";
import type { CycleRunner } from "./cycle-runner.js";
import type { PipelineEmitter } from "./events.js";
import type { ResolvedPipelineOptions } from "./pipeline-options.js";
import type { GenerationsPort } from "./ports.js";
import { automaticObstacle, type DomainState, domainState, dueTrigger, mayStartAutomatically } from "./triggers.js";

/** Between the end of one clearing of old answers and the next, milliseconds. */
const EXPIRY_MS = 3_600_000;

/**
 * Looks at the triggers, and at canaries first: a while after each accepted feedback, and on one timer that keeps no process alive. The
 * timer also has old answers deleted and interrupted erasures completed.
 */
export class TriggerWatch {
  readonly #buffer: FeedbackBuffer;
  readonly #runner: CycleRunner;
  readonly #canaries: CanaryBoard;
  readonly #generations: GenerationsPort | undefined;
  readonly #resumeErasures: () => Promise<unknown>;
  readonly #options: ResolvedPipelineOptions;
  readonly #events: PipelineEmitter;
  /** The rule that was told last, by domain; counts in it change all the time. */
  readonly #held = new Map<string, string>();
  #timer: NodeJS.Timeout | null = null;
  #debounce: NodeJS.Timeout | null = null;
  #looking: Promise<string[]> | null = null;
  #expiresAt = 0;
  /** Imports in progress: what they bring becomes one batch. */
  #holds = 0;

  constructor(parts: {
    buffer: FeedbackBuffer;
    runner: CycleRunner;
    canaries: CanaryBoard;
    generations: GenerationsPort | undefined;
    /** Completes what crashed processes left. */
    resumeErasures: () => Promise<unknown>;
    options: ResolvedPipelineOptions;
    events: PipelineEmitter;
  }) {
    this.#buffer = parts.buffer;
    this.#runner = parts.runner;
    this.#canaries = parts.canaries;
    this.#generations = parts.generations;
    this.#resumeErasures = parts.resumeErasures;
    this.#options = parts.options;
    this.#events = parts.events;
  }

  get isRunning(): boolean {
    return this.#timer !== null;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), this.#options.triggers.intervalMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#debounce !== null) clearTimeout(this.#debounce);
    this.#timer = null;
    this.#debounce = null;
  }

  /** Waits for a look in progress. */
  async idle(): Promise<void> {
    await this.#looking?.catch(() => {}); // reported where it was started
  }

  /** A sample was accepted. */
  noteAccepted(): void {
    if (this.#timer === null) return;
    if (this.#debounce !== null) clearTimeout(this.#debounce);
    this.#debounce = setTimeout(() => this.#tick(), this.#options.triggers.debounceMs).unref();
  }

  /** A sample was refused, because its buffer is full: look soon, and whatever else comes. */
  noteFull(): void {
    if (this.#timer === null || this.#debounce !== null) return;
    this.#debounce = setTimeout(() => this.#tick(), this.#options.triggers.debounceMs).unref();
  }

  /** Runs `work`, for example an import, without starting cycles on half of what it brings, unless a buffer is full. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    this.#holds++;
    try {
      return await work();
    } finally {
      this.#holds--;
      if (this.#timer !== null) this.#tick();
    }
  }

  /** Looks now; gives the ids of the cycles that it started. */
  look(): Promise<string[]> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  #tick(): void {
    this.#debounce = null;
    if (this.#looking !== null) return;
    this.look().catch((error: unknown) => this.#events.emit("error", { error, context: "the triggers could not be looked at" }));
  }

  async #look(): Promise<string[]> {
    await this.#canaries.look();
    await this.#runner.takeUpOrphans();
    // what an erasure needs may be away; nothing else waits for it
    await this.#resumeErasures().catch((error: unknown) =>
      this.#events.emit("error", { error, context: "an erasure that was interrupted could not be completed" }),
    );
    await this.#buffer.refresh();
    const { triggers, bufferCapacity, clock } = this.#options;
    const started: string[] = [];
    for (const facts of await this.#buffer.domainFacts()) {
      const state = domainState(facts, triggers, bufferCapacity);
      if (this.#holds > 0 && state.waiting < bufferCapacity) continue;
      this.#tellHeld(state);
      let trigger: "size" | "time" | "custom" | null = dueTrigger(state, triggers, clock());
      if (trigger === null && triggers.custom !== undefined && mayStartAutomatically(state, triggers, clock())) {
        trigger = (await triggers.custom(state)) ? "custom" : null;
      }
      if (trigger === null) continue;
      try {
        started.push(await this.#runner.start(state.domain, trigger));
      } catch (error) {
        // another process was first, or took samples meanwhile: both are as they should be
        if (!ClaraError.isInstance(error) || !["cycle_running", "dataset_too_small"].includes(error.code)) throw error;
      }
    }
    await this.#expireGenerations();
    return started;
  }

  /** Says why nothing happens, where somebody who waits for a cycle would wonder. */
  #tellHeld(state: DomainState): void {
    const { domain, waiting, hasOpenCycle } = state;
    const { triggers, logger } = this.#options;
    const reason = hasOpenCycle || waiting < triggers.minSamples ? null : automaticObstacle(state, triggers);
    const rule = reason?.replace(/\d+/g, "");
    if (rule === this.#held.get(domain)) return;
    if (reason === null || rule === undefined) {
      this.#held.delete(domain);
      return;
    }
    this.#held.set(domain, rule);
    logger?.info({ domain }, `no learning cycle starts: ${reason}`);
    this.#events.emit("cycle.held", { domain, reason });
  }

  /** A batch with each look until nothing is left, and then not before an hour has passed. */
  async #expireGenerations(): Promise<void> {
    if (this.#options.clock() < this.#expiresAt) return;
    const deleted = (await this.#generations?.expire?.()) ?? 0;
    if (deleted === 0) this.#expiresAt = this.#options.clock() + EXPIRY_MS;
  }
}
