import { ClaraError } from "../errors.js";
import { domainOfPart, plainDomain, tenantPartOf } from "../support/tenancy.js";
import type { Adapter } from "../types/adapter.js";
import type { Canary } from "../types/canary.js";
import type { Embedder, Logger } from "../types/common.js";
import type { RouterSettings } from "../types/routing.js";
import type { AdapterRegistry } from "./adapter-registry.js";
import type { RankedAdapter, RankingEvidence } from "./routing-table.js";
import { RoutingTables } from "./routing-tables.js";
import { namedWeights } from "./table-calibration.js";

/** What a domain's questions are answered with: the active adapter, or a canary beside the base model. */
interface Contender {
  adapter: Adapter;
  canary: Canary | undefined;
}

/** The registry's active adapters and canaries as this process knows them, and the table that finds them by embedding. */
export class LiveAdapters {
  readonly #registry: AdapterRegistry;
  readonly #tables: RoutingTables;
  readonly #logger: Logger | undefined;
  readonly #closed = new AbortController();
  #byDomain = new Map<string, Contender>();
  #defaultAdapterId: string | null = null;
  #refreshedAt: number | null = null;
  #running: Promise<void> | null = null;
  #queued: Promise<void> | null = null;

  constructor(registry: AdapterRegistry, embedder: Embedder, logger: Logger | undefined) {
    this.#registry = registry;
    this.#tables = new RoutingTables(embedder, logger);
    this.#logger = logger;
  }

  get isLoaded(): boolean {
    return this.#refreshedAt !== null;
  }

  hasTable(tenant: string | null): boolean {
    return this.#tables.hasAny(tenant);
  }

  /** Builds what a tenant's questions are compared with, the first time it asks. */
  async readyFor(tenant: string, settings: RouterSettings): Promise<void> {
    if (settings.enableEmbeddings) await this.#tables.ready(tenant, this.#closed.signal);
  }

  /** The default that may answer the tenant, or nobody's request. */
  defaultFor(tenant: string | null): string | null {
    const id = this.#defaultAdapterId;
    const owner = id === null ? null : tenantPartOf(id);
    return owner === null || owner === tenant ? id : null;
  }

  active(domain: string): Adapter | null {
    const adapter = this.contender(domain);
    return adapter?.status === "active" ? adapter : null;
  }

  /** Who answers the domain's questions: its active adapter, or else a canary on trial beside the base model. */
  contender(domain: string): Adapter | null {
    return this.#byDomain.get(domain)?.adapter ?? null;
  }

  /** Who answers a tenant's questions of the domain: its own adapter, or else the one that is nobody's; never another tenant's. */
  contenderFor(domain: string, tenant: string | null): Adapter | null {
    const owner = tenantPartOf(domain);
    if (owner !== null && owner !== tenant) return null;
    const own = tenant === null ? null : this.contender(domainOfPart(plainDomain(domain), tenant));
    return own ?? this.contender(plainDomain(domain));
  }

  canary(domain: string): Canary | undefined {
    return this.#byDomain.get(domain)?.canary;
  }

  domainOf(adapterId: string): string | undefined {
    for (const { adapter } of this.#byDomain.values()) if (adapter.id === adapterId) return adapter.domain;
    return undefined;
  }

  ageMs(): number {
    return this.#refreshedAt === null ? Number.POSITIVE_INFINITY : Date.now() - this.#refreshedAt;
  }

  /** Ranks by the tables, and answers the domains' present adapters: a flip counts at once, before a table is rebuilt. */
  rank(text: string, vector: ArrayLike<number>, tenant: string | null): { ranked: RankedAdapter[]; evidence: RankingEvidence | null } {
    const { ranked, evidence } = this.#tables.rank(text, vector, tenant);
    const present: RankedAdapter[] = [];
    for (const { domain, probability } of ranked) {
      const adapter = this.contender(domain);
      if (adapter) present.push({ adapterId: adapter.id, probability });
    }
    return { ranked: present, evidence };
  }

  /** One at a time; a call during a run gets a run that starts after it. */
  refresh(settings: RouterSettings): Promise<void> {
    if (this.#running === null) return this.#start(settings);
    this.#queued ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#queued = null;
        return this.#start(settings);
      });
    return this.#queued;
  }

  refreshInBackground(settings: RouterSettings): void {
    if (this.#running !== null || this.#closed.signal.aborted) return;
    // Also after a failure the next attempt waits its time.
    this.#refreshedAt = Date.now();
    this.refresh(settings).catch((error: unknown) => {
      this.#logger?.warn({ error }, "the adapter registry could not be re-read; routing goes on with what is known");
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.allSettled([this.#running, this.#queued]);
  }

  status() {
    const table = this.#tables.shared;
    const embedded = this.#tables.embeddedIds;
    return {
      domains: [...this.#byDomain.values()]
        .map(({ adapter: { domain, id, status }, canary }) => ({
          domain,
          adapterId: status === "active" ? id : null,
          isEmbedded: embedded.has(id),
          ...(canary && { canary: { id: canary.id, adapterId: canary.adapterId, share: canary.share } }),
        }))
        .sort((left, right) => (left.domain < right.domain ? -1 : 1)),
      embeddings: {
        isReady: table !== null && this.#tables.lastError === null,
        calibrationError: table?.calibrationError ?? null,
        weights: table === null ? {} : namedWeights(table),
        lastError: this.#tables.lastError,
      },
      refreshedAt: this.#refreshedAt === null ? null : new Date(this.#refreshedAt).toISOString(),
    };
  }

  #start(settings: RouterSettings): Promise<void> {
    this.#running = this.#reload(settings).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #reload(settings: RouterSettings): Promise<void> {
    const signal = this.#closed.signal;
    if (signal.aborted) return;
    const byDomain = await this.#contenders(signal);
    const adapters = [...byDomain.values()].map(({ adapter }) => adapter);
    this.#byDomain = byDomain;
    this.#defaultAdapterId = await this.#usableDefault(settings.defaultAdapter, signal);
    this.#refreshedAt = Date.now();
    if (settings.enableEmbeddings) await this.#tables.update(adapters, signal);
  }

  async #contenders(signal: AbortSignal): Promise<Map<string, Contender>> {
    const [active, canaries] = await Promise.all([
      this.#registry.list({ status: "active" }, { signal }),
      this.#registry.listCanaries({ status: "running" }, { signal }),
    ]);
    const contenders = new Map<string, Contender>(active.map((adapter) => [adapter.domain, { adapter, canary: undefined }]));
    for (const canary of canaries) {
      const contender = contenders.get(canary.domain);
      // read in two statements: a flip in between shows as another incumbent, and the next refresh is on its way
      if ((contender?.adapter.id ?? null) !== canary.incumbentId) continue;
      contenders.set(canary.domain, { adapter: contender?.adapter ?? (await this.#registry.get(canary.adapterId, { signal })), canary });
    }
    return contenders;
  }

  async #usableDefault(id: string | null, signal: AbortSignal): Promise<string | null> {
    if (id === null) return null;
    try {
      const { revokedReason } = await this.#registry.get(id, { signal });
      if (revokedReason === undefined) return id;
      this.#logger?.warn({ adapterId: id, revokedReason }, "the default adapter was withdrawn; the base model answers instead");
    } catch (error) {
      if (!ClaraError.isInstance(error) || error.code !== "adapter_not_found") throw error;
      this.#logger?.warn({ adapterId: id }, "the default adapter is not registered; the base model answers instead");
    }
    return null;
  }
}
