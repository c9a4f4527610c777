import { plainDomain, tenantPartOf } from "../support/tenancy.js";
import type { Adapter } from "../types/adapter.js";
import type { Embedder, Logger } from "../types/common.js";
import { evidenceBehind, type QueryVector, type RankingEvidence, type RoutingTable } from "./routing-table.js";
import { TableBuilder } from "./table-builder.js";

/** A table and the domain of each of its adapters, which may be a version behind. */
interface EmbeddedAdapters {
  table: RoutingTable;
  domains: ReadonlyMap<string, string>;
}

/** An adapter's domain as the best candidate of a ranking, and the probability that it is right. */
export interface RankedDomain {
  domain: string;
  probability: number;
}

/** Tenants' tables in memory; those that nobody asked for longest go first. */
const MAX_TENANT_TABLES = 200;

/**
 * A table of the adapters that are nobody's, and one of each tenant's own: what one tenant taught moves no other's decisions, not even by
 * its words, and who has no tenant pays for none. A tenant's table is built for its first question.
 */
export class RoutingTables {
  readonly #builder: TableBuilder;
  readonly #logger: Logger | undefined;
  /** By tenant; null: nobody's. The most recently asked last. */
  readonly #tables = new Map<string | null, EmbeddedAdapters>();
  readonly #failures = new Map<string | null, string>();
  #adapters = new Map<string | null, Adapter[]>();
  /** One at a time: the builder's memory is one. */
  #building: Promise<void> = Promise.resolve();

  constructor(embedder: Embedder, logger: Logger | undefined) {
    this.#builder = new TableBuilder(embedder);
    this.#logger = logger;
  }

  get shared(): RoutingTable | null {
    return this.#tables.get(null)?.table ?? null;
  }

  get lastError(): string | null {
    return this.#failures.values().next().value ?? null;
  }

  /** Ids of all adapters that questions find by likeness. */
  get embeddedIds(): Set<string> {
    return new Set([...this.#tables.values()].flatMap(({ table }) => table.adapterIds));
  }

  /** Whether a question of the tenant, or of nobody, can be compared with anything. */
  hasAny(part: string | null): boolean {
    return [null, part].some((owner) => (this.#tables.get(owner)?.table.adapterIds.length ?? 0) > 0);
  }

  /** Takes over the live adapters and rebuilds the tables that they change. */
  async update(adapters: readonly Adapter[], signal: AbortSignal): Promise<void> {
    this.#adapters = Map.groupBy(adapters, ({ domain }) => tenantPartOf(domain));
    await this.#build(null, signal);
    for (const part of new Set([...this.#tables.keys(), ...this.#failures.keys()])) {
      if (part === null) continue;
      if (this.#adapters.has(part)) await this.#build(part, signal);
      else this.#forget(part);
    }
  }

  /** Resolves when the tenant's own adapters can be compared with; at once where it has none. */
  async ready(part: string, signal: AbortSignal): Promise<void> {
    const known = this.#tables.get(part);
    if (known !== undefined) {
      this.#tables.delete(part);
      this.#tables.set(part, known);
    } else if (this.#adapters.has(part) && !this.#failures.has(part)) await this.#build(part, signal);
  }

  /** Ranks domains, best first; a tenant's own domain stands in the place of the one of the same name that is nobody's. */
  rank(text: string, vector: QueryVector, part: string | null): { ranked: RankedDomain[]; evidence: RankingEvidence | null } {
    const shared = this.#rankIn(null, text, vector);
    if (part === null || !this.#tables.has(part)) return shared;
    const own = this.#rankIn(part, text, vector);
    const ownDomains = new Set([...this.#tables.get(part)!.domains.values()].map(plainDomain));
    const others = shared.ranked.filter(({ domain }) => !ownDomains.has(domain));
    const ranked = [...own.ranked, ...others].sort((left, right) => right.probability - left.probability);
    return { ranked, evidence: joined(own.evidence, shared.evidence) };
  }

  #rankIn(part: string | null, text: string, vector: QueryVector): { ranked: RankedDomain[]; evidence: RankingEvidence | null } {
    const known = this.#tables.get(part);
    if (known === undefined || known.table.adapterIds.length === 0) return { ranked: [], evidence: null };
    const ranked = known.table
      .rank(text, vector)
      .map(({ adapterId, probability }) => ({ domain: known.domains.get(adapterId)!, probability }));
    return { ranked, evidence: evidenceBehind(vector) };
  }

  #build(part: string | null, signal: AbortSignal): Promise<void> {
    this.#building = this.#building.then(() => this.#buildNow(part, signal));
    return this.#building;
  }

  async #buildNow(part: string | null, signal: AbortSignal): Promise<void> {
    const adapters = this.#adapters.get(part) ?? [];
    const known = this.#tables.get(part);
    const isSame = known?.domains.size === adapters.length && adapters.every(({ id }) => known.domains.has(id));
    if (isSame && !this.#failures.has(part)) return;
    try {
      const table = await this.#builder.build(adapters, { signal, live: [...this.#adapters.values()].flat() });
      this.#tables.set(part, { table, domains: new Map(adapters.map(({ id, domain }) => [id, domain])) });
      this.#failures.delete(part);
      const tenants = [...this.#tables.keys()].filter((owner) => owner !== null);
      for (const oldest of tenants.slice(0, Math.max(0, tenants.length - MAX_TENANT_TABLES))) this.#forget(oldest);
    } catch (error) {
      if (signal.aborted) return;
      this.#failures.set(part, error instanceof Error ? error.message : String(error));
      this.#logger?.warn({ error }, "the routing table could not be rebuilt; domain rules and hints still work");
    }
  }

  #forget(part: string | null): void {
    this.#tables.delete(part);
    this.#failures.delete(part);
  }
}

function joined(left: RankingEvidence | null, right: RankingEvidence | null): RankingEvidence | null {
  if (left === null || right === null) return left ?? right;
  const offset = left.adapterIds.length;
  return {
    adapterIds: [...left.adapterIds, ...right.adapterIds],
    scored: [...left.scored, ...right.scored.map((one) => ({ ...one, adapter: one.adapter + offset }))],
  };
}
