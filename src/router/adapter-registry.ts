import type { Executor } from "../store/store.js";
import type { Adapter, AdapterIdentity, AdapterInput, AdapterStatus } from "../types/adapter.js";
import type { Canary, CanaryEvidence, CanaryStatus } from "../types/canary.js";
import type { CallOptions } from "../types/common.js";

/** Options of the calls that change the registry. */
export interface RegistryChangeOptions extends CallOptions {
  /** An open transaction of the caller's: the change commits or vanishes with it. The memory registry ignores it. */
  transaction?: Executor;
}

/** Options of the calls that change what serves. */
export interface ActivationOptions extends RegistryChangeOptions {
  /** Kept in the domain's history. */
  reason?: string;
}

/** What `listAdapters` filters by. */
export interface AdapterFilter {
  domain?: string;
  status?: AdapterStatus;
  name?: string;
}

/** One period of a domain's history. */
export interface ActivationPeriod {
  domain: string;
  /** Null: the base model answered. */
  adapterId: string | null;
  startedAt: string;
  /** Null: it still does. */
  endedAt: string | null;
  reason: string;
}

/** What a change of the serving adapter did. */
export interface ActivationChange {
  domain: string;
  /** Who answers now; null: the base model. */
  active: Adapter | null;
  /** Who answered until now; null: the base model. */
  previous: Adapter | null;
}

/** How a canary starts. */
export interface CanaryStart {
  /** Share of the users that gets it, above 0 and below 1. */
  share: number;
  /** Milliseconds until it ends without a decision. Default: never. */
  limitMs?: number;
  /** Milliseconds from which a call counts as slow. Default: slowness is not judged. */
  slowAboveMs?: number | null;
}

/** How a canary ends. */
export interface CanaryEnd {
  status: Exclude<CanaryStatus, "running">;
  reason: string;
  /** What it had shown by then. */
  evidence?: CanaryEvidence;
}

/** What `listCanaries` filters by. */
export interface CanaryFilter {
  domain?: string;
  status?: CanaryStatus;
}

/**
 * Where adapter versions live. Versions are immutable but for their status; at most one is active a domain; each change of the
 * active one is a period of the domain's history. At most one version a domain is on trial as its canary; whatever changes the domain's
 * active adapter ends the trial.
 */
export interface AdapterRegistry {
  /**
   * Adds a version: the pinned one, or the next of the name. Again the same version with the same content answers it unchanged.
   * @example
   * ```ts
   * const { id } = await registry.register({
   *   name: "building",
   *   domain: "building",
   *   path: "adapters/building@v1",
   *   baseModel: "Qwen/Qwen3-8B",
   * });
   * ```
   */
  register(input: AdapterInput, options?: RegistryChangeOptions): Promise<Adapter>;
  /**
   * Rejects with `NotFoundError` `adapter_not_found`.
   * @example
   * ```ts
   * const { path } = await registry.get("building@v1");
   * ```
   */
  get(id: string, options?: RegistryChangeOptions): Promise<Adapter>;
  /**
   * What the trainer recorded of it; null where nothing was, or where it can never serve again.
   * @example
   * ```ts
   * const prompts = (await registry.identity("building@v1"))?.fingerprint.prompts.length;
   * ```
   */
  identity(id: string, options?: CallOptions): Promise<AdapterIdentity | null>;
  /**
   * Oldest first.
   * @example
   * ```ts
   * const active = await registry.list({ status: "active" });
   * ```
   */
  list(filter?: AdapterFilter, options?: CallOptions): Promise<Adapter[]>;
  /**
   * The version that the next `register` of this name would get.
   * @example
   * ```ts
   * const version = await registry.nextVersion("building");
   * ```
   */
  nextVersion(name: string, options?: RegistryChangeOptions): Promise<number>;
  /**
   * Makes it the one that serves its domain; the one before is retired. Active already: nothing changes.
   * @example
   * ```ts
   * const { previous } = await registry.activate("building@v2", { reason: "passed the gate" });
   * ```
   */
  activate(id: string, options?: ActivationOptions): Promise<ActivationChange>;
  /**
   * Takes it out of service; the base model answers its domain. Not active: nothing changes.
   * @example
   * ```ts
   * await registry.deactivate("building@v2", { reason: "maintenance" });
   * ```
   */
  deactivate(id: string, options?: ActivationOptions): Promise<ActivationChange>;
  /**
   * Back to what served before the present one (a running canary is what is rolled back, then; the present one stays), past all that was rejected or withdrawn since, at last to the base model.
   * @example
   * ```ts
   * const { active } = await registry.rollback("building", { reason: "wrong answers" });
   * ```
   */
  rollback(domain: string, options?: ActivationOptions): Promise<ActivationChange>;
  /**
   * Ends an adapter for good: out of service if it serves, and never active again. What it kept of users' texts (examples,
   * fingerprint) is deleted.
   * @example
   * ```ts
   * await registry.revoke("building@v2", "retired", "erasure of a subject");
   * ```
   */
  revoke(id: string, status: "rejected" | "retired", reason: string, options?: RegistryChangeOptions): Promise<Adapter>;
  /**
   * Puts a version on trial beside the one that serves; a canary of the domain that runs is superseded. Rejects with `ConflictError`
   * `adapter_state_conflict` for an active, rejected or withdrawn one.
   * @example
   * ```ts
   * const { id } = await registry.startCanary("building@v3", { share: 0.1 });
   * ```
   */
  startCanary(id: string, start: CanaryStart, options?: RegistryChangeOptions): Promise<Canary>;
  /**
   * Ends a trial. `promoted`: the version serves its domain. Rejects with `NotFoundError` `canary_not_found`, and with `ConflictError`
   * `adapter_state_conflict` where it has ended already.
   * @example
   * ```ts
   * const [canary] = await registry.listCanaries({ domain: "building", status: "running" });
   * if (canary) await registry.endCanary(canary.id, { status: "rolled_back", reason: "users complain" });
   * ```
   */
  endCanary(id: string, end: CanaryEnd, options?: RegistryChangeOptions): Promise<Canary>;
  /**
   * Oldest first.
   * @example
   * ```ts
   * const running = await registry.listCanaries({ status: "running" });
   * ```
   */
  listCanaries(filter?: CanaryFilter, options?: CallOptions): Promise<Canary[]>;
  /**
   * Calls back when what serves may have changed, whoever changed it; returns the way to stop. Without it a router asks from time to time.
   * @example
   * ```ts
   * const stop = registry.onChange?.(() => console.log("something else may serve now"));
   * ```
   */
  onChange?(listener: () => void): () => void;
  /**
   * The domain's periods, oldest first.
   * @example
   * ```ts
   * const periods = await registry.history("building");
   * ```
   */
  history(domain: string, options?: CallOptions): Promise<ActivationPeriod[]>;
}
