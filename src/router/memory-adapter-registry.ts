import { randomUUID } from "node:crypto";
import { type Adapter, type AdapterIdentity, type AdapterInput, Adapter as AdapterSchema } from "../types/adapter.js";
import type { Canary } from "../types/canary.js";
import {
  adapterIdOf,
  adapterNotFound,
  canaryEnded,
  canaryNotFound,
  candidateOf,
  checkAdapterInput,
  checkCanaryStart,
  endWithout,
  revokedAdapter,
  sameAdapterOrConflict,
} from "./adapter-record.js";
import type {
  ActivationChange,
  ActivationOptions,
  ActivationPeriod,
  AdapterFilter,
  AdapterRegistry,
  CanaryEnd,
  CanaryFilter,
  CanaryStart,
} from "./adapter-registry.js";

interface Period extends ActivationPeriod {
  parent: Period | null;
}

/** Adapters of one process that vanish with it; for a router without a database, and for tests. */
export class MemoryAdapterRegistry implements AdapterRegistry {
  readonly #adapters = new Map<string, Adapter>();
  readonly #identities = new Map<string, AdapterIdentity>();
  readonly #periods = new Map<string, Period[]>();
  readonly #canaries: Canary[] = [];

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
    this.#endRunning(adapter.domain, (canary) =>
      canary.adapterId === id ? { status: "promoted", reason } : { status: "superseded", reason: `${id} serves the domain: ${reason}` },
    );
    return this.#switch(adapter.domain, id, reason, open);
  }

  async deactivate(id: string, { reason = "deactivated" }: ActivationOptions = {}): Promise<ActivationChange> {
    const { domain } = this.#find(id);
    this.#endRunning(domain, (canary) => endWithout(canary, id, reason));
    const open = this.#openPeriod(domain);
    const active = open?.adapterId ?? null;
    if (active !== id) return this.#change(domain, active, active);
    return this.#switch(domain, null, reason, open);
  }

  async rollback(domain: string, { reason = "rolled back" }: ActivationOptions = {}): Promise<ActivationChange> {
    const open = this.#openPeriod(domain);
    if (this.#endRunning(domain, () => ({ status: "rolled_back", reason }))) {
      return this.#change(domain, open?.adapterId ?? null, open?.adapterId ?? null);
    }
    let target = open?.parent ?? null;
    const isPassedOver = (id: string): boolean => id === open?.adapterId || this.#find(id).revokedReason !== undefined;
    while (target?.adapterId && isPassedOver(target.adapterId)) target = target.parent;
    const active = open?.adapterId ?? null;
    if (active === (target?.adapterId ?? null)) return this.#change(domain, active, active);
    return this.#switch(domain, target?.adapterId ?? null, reason, target?.parent ?? null);
  }

  async revoke(id: string, status: "rejected" | "retired", reason: string): Promise<Adapter> {
    const adapter = this.#find(id);
    this.#endRunning(adapter.domain, (canary) => endWithout(canary, id, reason));
    if (this.#openPeriod(adapter.domain)?.adapterId === id) await this.deactivate(id, { reason });
    adapter.revokedReason ??= reason;
    adapter.status = status;
    adapter.examples = [];
    this.#identities.delete(id);
    return copyOf(adapter);
  }

  async startCanary(id: string, { share, limitMs, slowAboveMs = null }: CanaryStart): Promise<Canary> {
    const adapter = this.#find(id);
    checkCanaryStart(adapter, share);
    const { domain } = adapter;
    this.#endRunning(domain, () => ({ status: "superseded", reason: `${id} is the domain's canary now` }));
    const now = Date.now();
    const canary: Canary = {
      id: randomUUID(),
      domain,
      adapterId: id,
      incumbentId: this.#openPeriod(domain)?.adapterId ?? null,
      share,
      slowAboveMs,
      startedAt: new Date(now).toISOString(),
      endsBy: limitMs === undefined ? null : new Date(now + limitMs).toISOString(),
      status: "running",
      endedAt: null,
      reason: null,
      evidence: null,
    };
    this.#canaries.push(canary);
    adapter.status = "canary";
    return structuredClone(canary);
  }

  async endCanary(id: string, end: CanaryEnd): Promise<Canary> {
    const canary = this.#canaries.find((one) => one.id === id);
    if (canary === undefined) throw canaryNotFound(id);
    if (canary.endedAt !== null) throw canaryEnded(canary);
    this.#close(canary, end);
    if (end.status === "promoted") await this.activate(canary.adapterId, { reason: end.reason });
    return structuredClone(canary);
  }

  async listCanaries({ domain, status }: CanaryFilter = {}): Promise<Canary[]> {
    return this.#canaries
      .filter((canary) => (domain === undefined || canary.domain === domain) && (status === undefined || canary.status === status))
      .map((canary) => structuredClone(canary));
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

  #endRunning(domain: string, endOf: (canary: Canary) => CanaryEnd | undefined): boolean {
    const canary = this.#canaries.find((one) => one.domain === domain && one.endedAt === null);
    const end = canary && endOf(canary);
    if (canary === undefined || end === undefined) return false;
    this.#close(canary, end);
    return true;
  }

  #close(canary: Canary, { status, reason, evidence = canary.evidence ?? undefined }: CanaryEnd): void {
    Object.assign(canary, { status, reason, evidence: evidence ?? null, endedAt: new Date().toISOString() });
    if (status !== "promoted") this.#find(canary.adapterId).status = "retired";
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
