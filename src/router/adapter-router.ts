import { randomBytes } from "node:crypto";
import { z } from "zod";
import { cached, LexicalEmbedder } from "../embedders/index.js";
import { ConfigurationError, ValidationError } from "../errors.js";
import { seededRandom } from "../support/seeded-random.js";
import { mayAnswer, refuseForeignDomain } from "../support/tenancy.js";
import { untilAborted } from "../support/with-timeout.js";
import type { Adapter, AdapterIdentity, AdapterInput } from "../types/adapter.js";
import type { Canary } from "../types/canary.js";
import type { CallOptions, ConversationTurn, Embedder, Logger } from "../types/common.js";
import type { RouterSettings, RoutingDecision } from "../types/routing.js";
import { adapterNotFound } from "./adapter-record.js";
import type {
  ActivationOptions,
  ActivationPeriod,
  AdapterFilter,
  AdapterRegistry,
  CanaryEnd,
  CanaryFilter,
  CanaryStart,
  RegistryChangeOptions,
} from "./adapter-registry.js";
import type { AdapterRouterOptions, RouteOptions, RouterStatus } from "./adapter-router-options.js";
import { type Choice, Chooser } from "./chooser.js";
import { type AdapterComparison, compareAdapters } from "./compare-adapters.js";
import { DecisionLog, type RecordedDecision } from "./decision-log.js";
import { type DecisionEvidence, explainDecision, type RoutingExplanation } from "./explain-decision.js";
import { Exploration } from "./exploration.js";
import { judgePolicy, type LoggedOutcome, type PolicyJudgement } from "./judge-policy.js";
import { LiveAdapters } from "./live-adapters.js";
import { MemoryAdapterRegistry } from "./memory-adapter-registry.js";
import { Revocations } from "./revocations.js";
import { routedText } from "./routed-text.js";
import { DEFAULT_ROUTER_SETTINGS, mergeRouterSettings, type PolicyChange, type RouterSettingsInput } from "./router-settings.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** Vectors kept, so that a repeated question is not embedded twice. */
const CACHED_QUESTIONS = 2_000;

const Reward = z.number().min(-1).max(1);

/**
 * Chooses who answers a request: a pinned adapter, else a domain rule or hint, else the adapter whose examples the question is
 * like, else the default. Decisions are made in memory; the confidence of an embedding decision is a calibrated probability.
 * @example
 * ```ts
 * const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }) });
 * const { adapterId, confidence } = await router.route("Which key opens the greenhouse?");
 * ```
 */
export class AdapterRouter {
  readonly #registry: AdapterRegistry;
  readonly #embedder: Embedder;
  readonly #logger: Logger | undefined;
  readonly #live: LiveAdapters;
  readonly #revocations: Revocations;
  readonly #log: DecisionLog;
  readonly #refreshIntervalMs: number;
  readonly #idPrefix = `dec_${randomBytes(9).toString("base64url")}_`;
  #idCounter = 0;
  #settings: RouterSettings;
  #unwatch: (() => void) | undefined;
  readonly #exploration: Exploration;
  readonly #chooser: Chooser;

  constructor(options: AdapterRouterOptions = {}) {
    this.#registry = options.registry ?? new MemoryAdapterRegistry();
    this.#embedder = cached(options.embedder ?? new LexicalEmbedder(), { maxEntries: CACHED_QUESTIONS });
    this.#logger = options.logger;
    this.#settings = mergeRouterSettings(DEFAULT_ROUTER_SETTINGS, options.settings ?? {}, "configuration");
    this.#live = new LiveAdapters(this.#registry, this.#embedder, options.logger);
    this.#revocations = new Revocations(this.#registry);
    this.#exploration = new Exploration(options.outcomes, options.logger);
    this.#log = new DecisionLog(wholeNumber("maxDecisions", options.maxDecisions ?? 10_000, 1));
    this.#refreshIntervalMs = wholeNumber("refreshIntervalMs", options.refreshIntervalMs ?? 5_000, 0);
    this.#chooser = new Chooser({
      live: this.#live,
      exploration: this.#exploration,
      embedder: this.#embedder,
      embedTimeoutMs: wholeNumber("embedTimeoutMs", options.embedTimeoutMs ?? 2_000, 1),
      random: seededRandom(options.explorationSeed ?? randomBytes(4).readUInt32LE()),
      logger: options.logger,
    });
  }

  /**
   * Decides who answers. Of a conversation the last user turn counts. Never waits for the database, but for the first call of a
   * router that was not refreshed yet. Another tenant's domain or adapter is refused (`input_invalid`, `adapter_not_found`). Abort stops the embedder and rejects with `AbortedError`.
   * @example
   * ```ts
   * const decision = await clara.router.route([{ role: "user", content: "Genehmigung für Photovoltaik?" }], { signal });
   * ```
   */
  async route(textOrMessages: string | readonly ConversationTurn[], options: RouteOptions = {}): Promise<RoutingDecision> {
    throwIfAborted(options.signal);
    const text = routedText(textOrMessages);
    const evidence = this.#newEvidence(options.domain);
    if (options.domain !== undefined) refuseForeignDomain(options.domain, options.tenant ?? null);
    if (typeof options.pinned === "string" && !mayAnswer(options.pinned, options.tenant ?? null)) throw adapterNotFound(options.pinned);
    if (options.pinned !== undefined) return this.#decide({ adapterId: options.pinned, strategy: "pinned", confidence: 1 }, evidence);
    if (!this.#live.isLoaded) await this.refresh({ signal: options.signal });
    else this.#refreshIfOld();
    return this.#decide(await this.#chooser.choose(text, options, evidence), evidence);
  }

  /**
   * Adds a version as a candidate; it serves nothing until it is activated.
   * @example
   * ```ts
   * const adapter = await clara.router.registerAdapter({
   *   name: "building",
   *   domain: "building",
   *   path: "adapters/building@v1",
   *   baseModel: "Qwen/Qwen3-8B",
   *   examples: questions,
   * });
   * ```
   */
  async registerAdapter(input: AdapterInput, options: RegistryChangeOptions = {}): Promise<Adapter> {
    return this.#registry.register(input, options);
  }

  /**
   * Makes a version the one that serves its domain. With `transaction` the routing changes at the `refresh()` that you call after
   * the commit. Rejects with `ConflictError` `adapter_state_conflict` for a rejected or withdrawn one.
   * @example
   * ```ts
   * await clara.router.activateAdapter("building@v2", { reason: "passed the gate" });
   * ```
   */
  async activateAdapter(id: string, options: ActivationOptions = {}): Promise<Adapter> {
    const { active } = await this.#registry.activate(id, options);
    await this.#refreshAfter(options);
    return active!;
  }

  /**
   * Takes a version out of service; the default answers its domain.
   * @example
   * ```ts
   * await clara.router.deactivateAdapter("building@v2", { reason: "maintenance" });
   * ```
   */
  async deactivateAdapter(id: string, options: ActivationOptions = {}): Promise<Adapter> {
    await this.#registry.deactivate(id, options);
    await this.#refreshAfter(options);
    return this.#registry.get(id, options);
  }

  /**
   * Back to the version that served before, past rejected and withdrawn ones; null: the base model answers now. While a canary of the
   * domain runs, that is what is rolled back, and the incumbent stays.
   * @example
   * ```ts
   * const adapter = await clara.router.rollback("building", { reason: "wrong answers" });
   * ```
   */
  async rollback(domain: string, options: ActivationOptions = {}): Promise<Adapter | null> {
    const { active } = await this.#registry.rollback(domain, options);
    await this.#refreshAfter(options);
    return active;
  }

  /**
   * Puts a version on trial: a share of the domain's users gets it, the same ones every time (`RouteOptions.subjectId`). Whoever judges
   * it, ends it; `clara.pipeline.canaries` does both.
   * @example
   * ```ts
   * const { id } = await clara.router.startCanary("building@v3", { share: 0.1 });
   * ```
   */
  async startCanary(id: string, start: CanaryStart, options: RegistryChangeOptions = {}): Promise<Canary> {
    const canary = await this.#registry.startCanary(id, start, options);
    await this.#refreshAfter(options);
    return canary;
  }

  /**
   * Ends a trial: `promoted` makes the version the one that serves its domain, everything else gives its users back to the incumbent.
   * @example
   * ```ts
   * const [canary] = await clara.router.listCanaries({ domain: "building", status: "running" });
   * if (canary) await clara.router.endCanary(canary.id, { status: "rolled_back", reason: "users complain" });
   * ```
   */
  async endCanary(id: string, end: CanaryEnd, options: RegistryChangeOptions = {}): Promise<Canary> {
    const canary = await this.#registry.endCanary(id, end, options);
    await this.#refreshAfter(options);
    return canary;
  }

  /**
   * Trials, oldest first.
   * @example
   * ```ts
   * const running = await clara.router.listCanaries({ status: "running" });
   * ```
   */
  async listCanaries(filter: CanaryFilter = {}, options: CallOptions = {}): Promise<Canary[]> {
    return this.#registry.listCanaries(filter, options);
  }

  /**
   * Marks a version as unfit for good, for example because the gate refused it. If it serves, the base model takes over.
   * @example
   * ```ts
   * await clara.router.rejectAdapter("building@v3", "exact answers fell from .88 to .05");
   * ```
   */
  async rejectAdapter(id: string, reason: string, options: RegistryChangeOptions = {}): Promise<Adapter> {
    return this.#revoke(id, "rejected", reason, options);
  }

  /**
   * Withdraws a version for good, for example because a person whose data it learnt was erased: no activation, no rollback to it.
   * @example
   * ```ts
   * await clara.router.withdrawAdapter("building@v2", "erasure of a subject");
   * ```
   */
  async withdrawAdapter(id: string, reason: string, options: RegistryChangeOptions = {}): Promise<Adapter> {
    return this.#revoke(id, "retired", reason, options);
  }

  /**
   * Rejects with `NotFoundError` `adapter_not_found`.
   * @example
   * ```ts
   * const { path } = await clara.router.getAdapter("building@v1");
   * ```
   */
  async getAdapter(id: string, options: RegistryChangeOptions = {}): Promise<Adapter> {
    return this.#registry.get(id, options);
  }

  /**
   * What the trainer recorded of a version, by which an engine can be asked for proof; null where nothing was recorded.
   * @example
   * ```ts
   * const rank = (await clara.router.adapterIdentity("building@v1"))?.rank;
   * ```
   */
  async adapterIdentity(id: string, options: CallOptions = {}): Promise<AdapterIdentity | null> {
    return this.#registry.identity(id, options);
  }

  /**
   * Why a version can never serve again; null: it may, or it is not registered. From memory that is at most 5 s old, so that every
   * request may ask: what this router rejected or withdrew counts at once (in a transaction: from the `refresh()` after the commit), what
   * another process did within 5 s. Rejects where the registry had to be asked and could not.
   * @example
   * ```ts
   * const isUsable = (await clara.router.revokedReason("building@v1")) === null;
   * ```
   */
  async revokedReason(id: string, { signal }: CallOptions = {}): Promise<string | null> {
    throwIfAborted(signal);
    return untilAborted(this.#revocations.of(id), signal);
  }

  /**
   * Versions, oldest first.
   * @example
   * ```ts
   * const candidates = await clara.router.listAdapters({ domain: "building", status: "candidate" });
   * ```
   */
  async listAdapters(filter: AdapterFilter = {}, options: CallOptions = {}): Promise<Adapter[]> {
    return this.#registry.list(filter, options);
  }

  /**
   * The version number that the next registration under this name gets.
   * @example
   * ```ts
   * const path = `adapters/building@v${await clara.router.nextVersion("building")}`;
   * ```
   */
  async nextVersion(name: string, options: RegistryChangeOptions = {}): Promise<number> {
    return this.#registry.nextVersion(name, options);
  }

  /**
   * Metrics, facts and examples of two versions side by side.
   * @example
   * ```ts
   * const { metrics } = await clara.router.compareAdapters("building@v1", "building@v2");
   * ```
   */
  async compareAdapters(a: string, b: string, options: CallOptions = {}): Promise<AdapterComparison> {
    return compareAdapters(await this.#registry.get(a, options), await this.#registry.get(b, options));
  }

  /**
   * Who served the domain, from when to when and why; oldest first.
   * @example
   * ```ts
   * const periods = await clara.router.history("building");
   * ```
   */
  async history(domain: string, options: CallOptions = {}): Promise<ActivationPeriod[]> {
    return this.#registry.history(domain, options);
  }

  /**
   * What serves the domain now, from memory; null: the base model.
   * @example
   * ```ts
   * const version = clara.router.activeAdapter("building")?.version ?? 0;
   * ```
   */
  activeAdapter(domain: string): Adapter | null {
    return this.#live.active(domain);
  }

  /**
   * Re-reads the registry and the outcomes, and rebuilds what changed; routing goes on meanwhile with what it has. An embedder that
   * fails does not fail it: domain rules and hints work without, and `status()` tells.
   * @example
   * ```ts
   * await clara.router.refresh();
   * ```
   */
  async refresh({ signal }: CallOptions = {}): Promise<void> {
    throwIfAborted(signal);
    this.#watch();
    this.#revocations.forget();
    await Promise.all([this.#live.refresh(this.#settings), this.#exploration.refresh()]);
    throwIfAborted(signal);
  }

  /**
   * Changes settings; absent fields stay. Throws `ValidationError` `input_invalid` naming the field, or `adapter_not_found`
   * for a default adapter that is not registered.
   * @example
   * ```ts
   * await clara.router.configure({ thresholds: { confHigh: 0.9 }, rules: [{ domain: "building", keywords: ["key", "fuse box"] }] });
   * ```
   */
  async configure(change: RouterSettingsInput, { signal }: CallOptions = {}): Promise<RouterSettings> {
    throwIfAborted(signal);
    const settings = mergeRouterSettings(this.#settings, change);
    if (change.defaultAdapter) await this.#registry.get(change.defaultAdapter, { signal });
    this.#settings = settings;
    await this.refresh({ signal });
    return structuredClone(settings);
  }

  /**
   * Settings, adapters by domain, decisions by strategy, calibration and outcomes of this process.
   * @example
   * ```ts
   * const { embeddings, decisions } = clara.router.status();
   * ```
   */
  status(): RouterStatus {
    const table = this.#live.status();
    return {
      settings: structuredClone(this.#settings),
      domains: table.domains,
      embeddings: { embedder: this.#embedder.name, ...table.embeddings, lastError: table.embeddings.lastError ?? this.#chooser.embedError },
      decisions: this.#log.countsByStrategy(),
      outcomes: this.#log.outcomes(),
      refreshedAt: table.refreshedAt,
    };
  }

  /**
   * Tells how an answer turned out, -1..1; a second call for the same decision replaces the first. Exploration learns from the
   * decisions that it made. Rejects with `NotFoundError` `decision_not_found`.
   * @example
   * ```ts
   * if (reply.routing) await clara.router.recordOutcome(reply.routing.id, 1);
   * ```
   */
  async recordOutcome(decisionId: string, reward: number, { signal }: CallOptions = {}): Promise<void> {
    throwIfAborted(signal);
    const checked = Reward.safeParse(reward);
    if (!checked.success) throw new ValidationError("input_invalid", `The reward of decision ${decisionId} must be a number from -1 to 1.`);
    const before = this.#log.reward(decisionId, checked.data);
    const { decision } = this.#log.get(decisionId);
    if (decision.propensity === 1) return;
    if (before !== null) this.#exploration.learn(decision.adapterId, before, -1);
    this.#exploration.learn(decision.adapterId, checked.data);
  }

  /**
   * A remembered decision with its propensity and its reward; throws `NotFoundError` `decision_not_found`.
   * @example
   * ```ts
   * const { id } = await clara.router.route(text);
   * const { decision, propensity } = clara.router.decision(id);
   * ```
   */
  decision(id: string): Readonly<RecordedDecision> {
    return structuredClone(this.#log.get(id));
  }

  /**
   * Why a remembered decision was made: what was tried in which order, the keywords found, the candidates with their features, and
   * what exploration believed; throws `NotFoundError` `decision_not_found`.
   * @example
   * ```ts
   * const { id } = await clara.router.route("Genehmigung für Photovoltaik?");
   * const text = clara.router.explain(id).reasons.join("\n");
   * ```
   */
  explain(decisionId: string): RoutingExplanation {
    return structuredClone(explainDecision(this.#log.get(decisionId), this.#log.evidence(decisionId)));
  }

  /**
   * Judges a change of thresholds, `uncertain` or exploration before it is made, by outcomes of decisions: what would the mean reward
   * have been? By default of those that this process remembers; give `logged` for others, such as stored generations with their
   * ratings. A judgement is only as fair as the outcomes are: rated answers may not be like the rest. Rejects with
   * `ValidationError` `input_invalid` naming the field.
   * @example
   * ```ts
   * const { logged, estimate, isConclusive } = await clara.router.judgePolicy({ thresholds: { confLow: 0.7 } });
   * ```
   */
  async judgePolicy(
    change: PolicyChange,
    logged?: Iterable<LoggedOutcome> | AsyncIterable<LoggedOutcome>,
    options: CallOptions = {},
  ): Promise<PolicyJudgement> {
    return judgePolicy(logged ?? this.#log.rewarded(), mergeRouterSettings(this.#settings, change), options);
  }

  /**
   * Stops re-reading the registry and waits for a rebuild under way.
   * @example
   * ```ts
   * await clara.router.close();
   * ```
   */
  async close(): Promise<void> {
    this.#unwatch?.();
    await Promise.all([this.#live.close(), this.#exploration.close()]);
  }

  /** Hears of other processes' changes where the registry tells of them. */
  #watch(): void {
    this.#unwatch ??= this.#registry.onChange?.(() => {
      this.#revocations.forget();
      this.#live.refresh(this.#settings).catch((error: unknown) => {
        this.#logger?.warn({ error }, "the adapter registry could not be re-read after a change; it is tried again");
      });
    });
  }

  #decide({ propensity = 1, candidates = [], ...choice }: Choice, evidence: DecisionEvidence): RoutingDecision {
    this.#idCounter++;
    const decision: RoutingDecision = { id: this.#idPrefix + this.#idCounter.toString(36), ...choice, candidates, propensity };
    this.#log.add(decision, evidence);
    return decision;
  }

  #newEvidence(hint: string | undefined): DecisionEvidence {
    return { settings: this.#settings, hint, rules: [], embedding: "not asked", ranking: null, exploration: null };
  }

  async #revoke(id: string, status: "rejected" | "retired", reason: string, options: RegistryChangeOptions): Promise<Adapter> {
    const adapter = await this.#registry.revoke(id, status, reason, options);
    this.#revocations.forget();
    await this.#refreshAfter(options);
    return adapter;
  }

  /** A change inside the caller's transaction is not true yet. */
  async #refreshAfter({ transaction }: RegistryChangeOptions): Promise<void> {
    if (transaction === undefined) await this.#live.refresh(this.#settings);
  }

  #refreshIfOld(): void {
    if (this.#refreshIntervalMs === 0 || this.#live.ageMs() < this.#refreshIntervalMs) return;
    this.#live.refreshInBackground(this.#settings);
    // It reports its failures itself, and routing does not wait for it.
    void this.#exploration.refresh();
  }
}

function wholeNumber(name: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least) return value;
  throw new ConfigurationError("config_invalid", `${name} must be a whole number from ${least}, not ${value}.`);
}
