import { type Adapter, type AdapterIdentity, type AdapterInput, Adapter as AdapterSchema } from "../types/adapter.js";
import { adapterIdOf, adapterNotFound, candidateOf, checkAdapterInput, revokedAdapter, sameAdapterOrConflict } from "./adapter-record.js";
import type { ActivationChange, ActivationOptions, ActivationPeriod, AdapterFilter, AdapterRegistry } from "./adapter-registry.js";

interface Period extends ActivationPeriod {
  parent: Period | null;
}

/** Adapters of one process that vanish with it; for a router without a database, and for tests. */
export class MemoryAdapterRegistry implements AdapterRegistry {
  readonly #adapters = new Map<string, Adapter>();
  readonly #identities = new Map<string, AdapterIdentity>();
  readonly #periods = new Map<string, Period[]>();

  async register(input: AdapterInput): Promise<Adapter> {
    const checked = checkAdapterInput(input);
    const version = checked.version ?? this.#nextVersion(checked.name);
    const existing = this.#adapters.get(adapterIdOf(checked.name, version));
    if (existing) return copyOf(sameAdapterOrConflict(existing, checked));
    const adapter = candidateOf(checked, version, new Date());
    this.#adapters.set(adapter.id, adapter);
    if (checked.identity) this.#identities.set(adapter.id, checked.identity);
    return copyOf(adapter);
  }

  async get(id: string): Promise<Adapter> {
    return copyOf(this.#find(id));
  }

  async identity(id: string): Promise<AdapterIdentity | null> {
    this.#find(id);
    return structuredClone(this.#identities.get(id) ?? null);
  }

  async list({ domain, status, name }: AdapterFilter = {}): Promise<Adapter[]> {
    return [...this.#adapters.values()]
      .filter((adapter) => domain === undefined || adapter.domain === domain)
      .filter((adapter) => status === undefined || adapter.status === status)
      .filter((adapter) => name === undefined || adapter.name === name)
      .map(copyOf);
  }

  async nextVersion(name: string): Promise<number> {
    return this.#nextVersion(name);
  }

  async activate(id: string, { reason = "activated" }: ActivationOptions = {}): Promise<ActivationChange> {
    const adapter = this.#find(id);
    if (adapter.revokedReason !== undefined) throw revokedAdapter(id, adapter.status, adapter.revokedReason);
    const open = this.#openPeriod(adapter.domain);
    if (open?.adapterId === id) return this.#change(adapter.domain, id, id);
    return this.#switch(adapter.domain, id, reason, open);
  }

  async deactivate(id: string, { reason = "deactivated" }: ActivationOptions = {}): Promise<ActivationChange> {
    const { domain } = this.#find(id);
    const open = this.#openPeriod(domain);
    const active = open?.adapterId ?? null;
    if (active !== id) return this.#change(domain, active, active);
    return this.#switch(domain, null, reason, open);
  }

  async rollback(domain: string, { reason = "rolled back" }: ActivationOptions = {}): Promise<ActivationChange> {
    const open = this.#openPeriod(domain);
    let target = open?.parent ?? null;
    const isPassedOver = (id: string): boolean => id === open?.adapterId || this.#find(id).revokedReason !== undefined;
    while (target?.adapterId && isPassedOver(target.adapterId)) target = target.parent;
    const active = open?.adapterId ?? null;
    if (active === (target?.adapterId ?? null)) return this.#change(domain, active, active);
    return this.#switch(domain, target?.adapterId ?? null, reason, target?.parent ?? null);
  }

  async revoke(id: string, status: "rejected" | "retired", reason: string): Promise<Adapter> {
    const adapter = this.#find(id);
    if (this.#openPeriod(adapter.domain)?.adapterId === id) await this.deactivate(id, { reason });
    adapter.revokedReason ??= reason;
    adapter.status = status;
    adapter.examples = [];
    this.#identities.delete(id);
    return copyOf(adapter);
  }

  async history(domain: string): Promise<ActivationPeriod[]> {
    return (this.#periods.get(domain) ?? []).map(({ parent: _, ...period }) => period);
  }

  #find(id: string): Adapter {
    const adapter = this.#adapters.get(id);
    if (adapter === undefined) throw adapterNotFound(id);
    return adapter;
  }

  #nextVersion(name: string): number {
    return 1 + Math.max(0, ...[...this.#adapters.values()].filter((adapter) => adapter.name === name).map(({ version }) => version));
  }

  #openPeriod(domain: string): Period | null {
    return this.#periods.get(domain)?.at(-1) ?? null;
  }

  #switch(domain: string, id: string | null, reason: string, parent: Period | null): ActivationChange {
    const now = new Date().toISOString();
    const open = this.#openPeriod(domain);
    if (open) open.endedAt = now;
    if (open?.adapterId) this.#find(open.adapterId).status = "retired";
    if (id !== null) Object.assign(this.#find(id), { status: "active", activatedAt: now });
    const periods = this.#periods.get(domain) ?? [];
    periods.push({ domain, adapterId: id, startedAt: now, endedAt: null, reason, parent });
    this.#periods.set(domain, periods);
    return this.#change(domain, id, open?.adapterId ?? null);
  }

  #change(domain: string, active: string | null, previous: string | null): ActivationChange {
    return {
      domain,
      active: active === null ? null : copyOf(this.#find(active)),
      previous: previous === null ? null : copyOf(this.#find(previous)),
    };
  }
}

/** Callers get copies: nobody edits the registry by accident. */
function copyOf(adapter: Adapter): Adapter {
  return AdapterSchema.parse(structuredClone(adapter));
}
