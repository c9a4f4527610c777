import PQueue from "p-queue";
import { NotFoundError } from "../../errors.js";
import type { Store } from "../../store/store.js";
import type { Canary, CanaryStatus } from "../../types/canary.js";
import type { CallOptions } from "../../types/common.js";
import type { PipelineEmitter } from "../events.js";
import type { RouterPort, ServingPort } from "../ports.js";
import { slowLimit } from "./canary-entry.js";
import { CanaryJudge } from "./canary-judge.js";
import type { CanaryOptions } from "./canary-options.js";

/** What the board works with. */
export interface CanaryBoardParts {
  store: Store;
  router: RouterPort;
  serving: ServingPort;
  events: PipelineEmitter;
  options: CanaryOptions;
  clock: () => number;
}

/**
 * Versions on trial: a share of a domain's users gets the new one, and what they make of it decides. The pipeline starts and ends trials
 * by itself; a person may do either at any time.
 */
export class CanaryBoard {
  readonly #parts: CanaryBoardParts;
  readonly #judge: CanaryJudge;
  readonly #looks = new PQueue({ concurrency: 1 });

  /** @internal */
  constructor(parts: CanaryBoardParts) {
    this.#parts = parts;
    this.#judge = new CanaryJudge(parts);
  }

  /**
   * Trials, oldest first, with what each has shown.
   * @example
   * ```ts
   * for (const { adapterId, evidence } of await clara.pipeline.canaries.list({ status: "running" })) console.log(adapterId, evidence?.better);
   * ```
   */
  async list(filter: { domain?: string; status?: CanaryStatus } = {}, options: CallOptions = {}): Promise<Canary[]> {
    return this.#parts.router.listCanaries(filter, options);
  }

  /**
   * One trial.
   * @throws NotFoundError `canary_not_found`
   * @example
   * ```ts
   * const { id } = await clara.pipeline.canaries.start("building@v4");
   * const { status, reason } = await clara.pipeline.canaries.get(id);
   * ```
   */
  async get(id: string, options: CallOptions = {}): Promise<Canary> {
    const canary = (await this.list({}, options)).find((one) => one.id === id);
    if (canary !== undefined) return canary;
    throw new NotFoundError("canary_not_found", `There is no canary ${id}. List them with canaries.list().`, { details: { id } });
  }

  /**
   * Puts a registered version on trial by hand: loads it at every engine, which must show that it serves it, and gives it its share.
   * @throws ConflictError `adapter_state_conflict` for an active, rejected or withdrawn one; EngineError `adapter_unproven`
   * @example
   * ```ts
   * const canary = await clara.pipeline.canaries.start("building@v4", { share: 0.2 });
   * ```
   */
  async start(
    adapterId: string,
    { share, limitMs, signal }: CallOptions & Partial<Pick<CanaryOptions, "share" | "limitMs">> = {},
  ): Promise<Canary> {
    const { router, serving, store, options, events } = this.#parts;
    const { path, domain } = await router.getAdapter(adapterId, { signal });
    await router.refresh?.({ signal });
    const incumbentId = router.activeAdapter(domain)?.id ?? null;
    await serving.loadAdapter({ id: adapterId, path, predecessorId: incumbentId }, { signal });
    const slowAboveMs = await slowLimit(store, incumbentId, options);
    const start = { share: share ?? options.share, limitMs: limitMs ?? options.limitMs, slowAboveMs };
    const canary = await router.startCanary(adapterId, start, { signal });
    events.emit("canary.started", { canary });
    return canary;
  }

  /**
   * Ends a trial by hand: its version serves the domain now.
   * @throws NotFoundError `canary_not_found`; ConflictError `adapter_state_conflict` where it has ended
   * @example
   * ```ts
   * const [canary] = await clara.pipeline.canaries.list({ domain: "building", status: "running" });
   * if (canary) await clara.pipeline.canaries.promote(canary.id, { reason: "we have seen enough" });
   * ```
   */
  async promote(id: string, { reason = "promoted by hand", signal }: CallOptions & { reason?: string } = {}): Promise<Canary> {
    return this.#tell(await this.#parts.router.endCanary(id, { status: "promoted", reason }, { signal }));
  }

  /**
   * Ends a trial by hand: the incumbent answers everybody again.
   * @throws NotFoundError `canary_not_found`; ConflictError `adapter_state_conflict` where it has ended
   * @example
   * ```ts
   * const [canary] = await clara.pipeline.canaries.list({ domain: "building", status: "running" });
   * if (canary) await clara.pipeline.canaries.rollback(canary.id, { reason: "users complain about its tone" });
   * ```
   */
  async rollback(id: string, { reason = "rolled back by hand", signal }: CallOptions & { reason?: string } = {}): Promise<Canary> {
    return this.#tell(await this.#parts.router.endCanary(id, { status: "rolled_back", reason }, { signal }));
  }

  /**
   * Judges running trials now. It happens by itself after each rating of a canary's domain and, between `start` and `stop` of the
   * pipeline, every `triggers.intervalMs`.
   * @returns the trials that it ended
   * @example
   * ```ts
   * const ended = await clara.pipeline.canaries.look();
   * ```
   */
  look(): Promise<Canary[]> {
    return this.#looks.add(() => this.#look());
  }

  /**
   * A rating came: look soon; one look that has not begun sees all that came before it.
   * @internal
   */
  lookInBackground(): void {
    if (this.#looks.size > 0) return;
    this.look().catch((error: unknown) => this.#parts.events.emit("error", { error, context: "canaries could not be judged" }));
  }

  /**
   * Waits for looks under way.
   * @internal
   */
  idle(): Promise<void> {
    return this.#looks.onIdle();
  }

  async #look(): Promise<Canary[]> {
    const ended = await this.#judge.look();
    for (const canary of ended) await this.#tell(canary);
    return ended;
  }

  async #tell(canary: Canary): Promise<Canary> {
    const { router, events } = this.#parts;
    const { adapterId, domain, incumbentId, status, reason } = canary;
    const cycleId = (await router.getAdapter(adapterId)).lineage.cycleId ?? null;
    events.emit("canary.ended", { canary });
    if (status === "promoted") events.emit("adapter.activated", { adapterId, previousAdapterId: incumbentId, domain, cycleId });
    else {
      const verdict = status === "rolled_back" ? ("fail" as const) : ("insufficient" as const);
      events.emit("adapter.rolledback", {
        adapterId,
        domain,
        cycleId,
        reasons: [{ criterion: "canary", verdict, message: reason ?? status }],
      });
    }
    return canary;
  }
}
