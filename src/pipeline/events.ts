import EventEmitter from "eventemitter3";
import type { Canary } from "../types/canary.js";
import type { Logger } from "../types/common.js";
import type { GateReason, LearningCycle } from "../types/cycle.js";
import type { FeedbackReceipt, FirewallFinding } from "../types/feedback.js";

/** The pipeline's events and their payloads. */
export interface PipelineEvents {
  /** A feedback was stored and will be learnt from (or, a thumb down, kept as a preference). */
  "feedback.accepted": (event: { receipt: FeedbackReceipt; domain: string }) => void;
  /** A feedback was stored but will not be learnt from: rejected, a duplicate, or waiting for review (`receipt.status`). */
  "feedback.rejected": (event: { receipt: FeedbackReceipt; domain: string }) => void;
  /**
   * Accepted feedback went to review before it was learnt: too much of what waits says nearly the same (code `cluster`,
   * `firewall.maxClusterShare`), or other people contradict it (`disputed`, `firewall.disputes`).
   */
  "feedback.held": (event: { domain: string; ids: string[]; finding: FirewallFinding }) => void;
  /**
   * Enough samples of a domain wait, but no cycle may start: `reason` says what is missing and which option decides it. Told once, and again
   * when another rule is in the way.
   */
  "cycle.held": (event: { domain: string; reason: string }) => void;
  /** A cycle was started, finished a stage, waits, or ended. */
  "cycle.updated": (event: { cycle: LearningCycle }) => void;
  /** An adapter passed the gate, and its canary where there was one, and serves its domain; `cycleId` is null where a person trained it. */
  "adapter.activated": (event: { adapterId: string; previousAdapterId: string | null; domain: string; cycleId: string | null }) => void;
  /** An adapter passed the gate and answers a share of its domain's users. */
  "canary.started": (event: { canary: Canary }) => void;
  /** A canary was promoted, rolled back, or its time is over; `canary.reason` says why. Emitted where it was judged. */
  "canary.ended": (event: { canary: Canary }) => void;
  /** A candidate was not activated, a canary did not become the one that serves, or a person's erasure took an adapter out of service; what served before still serves. */
  "adapter.rolledback": (event: { adapterId: string | null; domain: string; cycleId: string | null; reasons: GateReason[] }) => void;
  /** Something went wrong outside a caller's sight: a background cycle, a trigger, a listener. */
  error: (event: { error: unknown; context: string; cycleId?: string }) => void;
}

/**
 * A typed emitter whose listeners cannot break the pipeline: what a listener throws goes to the logger and to `error`
 * listeners. An `error` that nobody listens to is logged, never thrown.
 */
export class PipelineEmitter {
  readonly #emitter = new EventEmitter();
  readonly #logger: Logger | undefined;
  /** The guarded stand-in of each listener, by which `off` finds it again. */
  readonly #guards = new Map<string, WeakMap<Listener, Listener>>();

  constructor(logger?: Logger) {
    this.#logger = logger;
  }

  on<Name extends keyof PipelineEvents>(name: Name, listener: PipelineEvents[Name]): void {
    this.#emitter.on(name, this.#guard(name, listener as Listener));
  }

  once<Name extends keyof PipelineEvents>(name: Name, listener: PipelineEvents[Name]): void {
    this.#emitter.once(name, this.#guard(name, listener as Listener));
  }

  off<Name extends keyof PipelineEvents>(name: Name, listener: PipelineEvents[Name]): void {
    const guard = this.#guards.get(name)?.get(listener as Listener);
    if (guard !== undefined) this.#emitter.off(name, guard);
  }

  emit<Name extends keyof PipelineEvents>(name: Name, event: Parameters<PipelineEvents[Name]>[0]): void {
    if (name === "error") {
      const { error, context } = event as Parameters<PipelineEvents["error"]>[0];
      this.#logger?.error({ err: error }, context);
    }
    this.#emitter.emit(name, event);
  }

  #guard(name: keyof PipelineEvents, listener: Listener): Listener {
    const known = this.#guards.get(name) ?? new WeakMap<Listener, Listener>();
    this.#guards.set(name, known);
    const existing = known.get(listener);
    if (existing !== undefined) return existing;
    const guard = (event: unknown) => {
      try {
        const result = listener(event);
        if (result instanceof Promise) result.catch((error: unknown) => this.#listenerFailed(name, error));
      } catch (error) {
        this.#listenerFailed(name, error);
      }
    };
    known.set(listener, guard);
    return guard;
  }

  #listenerFailed(name: keyof PipelineEvents, error: unknown): void {
    const context = `a listener of "${name}" failed`;
    if (name === "error") this.#logger?.error({ err: error }, context);
    else this.emit("error", { error, context });
  }
}

type Listener = (event: unknown) => unknown;
