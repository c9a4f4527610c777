import { ClaraError } from "../errors.js";
import type { Adapter } from "../types/adapter.js";
import type { Canary } from "../types/canary.js";
import type { Embedder, Logger } from "../types/common.js";
import type { RouterSettings } from "../types/routing.js";
import type { AdapterRegistry } from "./adapter-registry.js";
import type { RankedAdapter, RoutingTable } from "./routing-table.js";
import { TableBuilder } from "./table-builder.js";
import { namedWeights } from "./table-calibration.js";

/** What a domain's questions are answered with: the active adapter, or a canary beside the base model. */
interface Contender {
  adapter: Adapter;
  canary: Canary | undefined;
}

/** The registry's active adapters and canaries as this process knows them, and the table that finds them by embedding. */
export class LiveAdapters {
  readonly #registry: AdapterRegistry;
  readonly #builder: TableBuilder;
  readonly #logger: Logger | undefined;
  readonly #closed = new AbortController();
  #byDomain = new Map<string, Contender>();
  #table: RoutingTable | null = null;
  /** Domain of each adapter of the table, which may be a version behind. */
  #tableDomains = new Map<string, string>();
  #defaultAdapterId: string | null = null;
  #refreshedAt: number | null = null;
  #lastError: string | null = null;
  #running: Promise<void> | null = null;
  #queued: Promise<void> | null = null;

  constructor(registry: AdapterRegistry, embedder: Embedder, logger: Logger | undefined) {
    this.#registry = registry;
    this.#builder = new TableBuilder(embedder);
    this.#logger = logger;
  }

  get isLoaded(): boolean {
    return this.#refreshedAt !== null;
  }

  get hasTable(): boolean {
    return this.#table !== null && this.#table.adapterIds.length > 0;
  }

  get defaultAdapterId(): string | null {
    return this.#defaultAdapterId;
  }

  active(domain: string): Adapter | null {
    const adapter = this.contender(domain);
    return adapter?.status === "active" ? adapter : null;
  }

  /** Who answers the domain's questions: its active adapter, or else a canary on trial beside the base model. */
  contender(domain: string): Adapter | null {
    return this.#byDomain.get(domain)?.adapter ?? null;
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

  /** Ranks by the table, and answers the domains' present adapters: a flip counts at once, before the table is rebuilt. */
  rank(text: string, vector: ArrayLike<number>): RankedAdapter[] {
    const ranked: RankedAdapter[] = [];
    for (const { adapterId, probability } of this.#table!.rank(text, vector)) {
      const present = this.contender(this.#tableDomains.get(adapterId)!);
      if (present) ranked.push({ adapterId: present.id, probability });
    }
    return ranked;
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
    const table = this.#table;
    const embedded = new Set(table?.adapterIds);
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
        isReady: table !== null && this.#lastError === null,
        calibrationError: table?.calibrationError ?? null,
        weights: table === null ? {} : namedWeights(table),
        lastError: this.#lastError,
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
    if (settings.enableEmbeddings) await this.#rebuildTable(adapters, signal);
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

  async #rebuildTable(adapters: readonly Adapter[], signal: AbortSignal): Promise<void> {
    const isSame = this.#tableDomains.size === adapters.length && adapters.every(({ id }) => this.#tableDomains.has(id));
    if (this.#table !== null && isSame && this.#lastError === null) return;
    try {
      this.#table = await this.#builder.build(adapters, signal);
      this.#tableDomains = new Map(adapters.map(({ id, domain }) => [id, domain]));
      this.#lastError = null;
    } catch (error) {
      if (signal.aborted) return;
      this.#lastError = error instanceof Error ? error.message : String(error);
      this.#logger?.warn({ error }, "the routing table could not be rebuilt; domain rules and hints still work");
    }
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
