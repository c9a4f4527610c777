import { type Selectable, sql, type Transaction } from "kysely";
import { AbortedError } from "../errors.js";
import { notifyOthers } from "../store/notifications.js";
import type { Database } from "../store/schema.js";
import type { Executor, Store } from "../store/store.js";
import type { AdapterActivationRow, AdapterRow } from "../store/tables/adapter.js";
import { inTransaction } from "../store/transaction.js";
import { type Adapter, AdapterIdentity, type AdapterInput } from "../types/adapter.js";
import type { Canary } from "../types/canary.js";
import type { CallOptions } from "../types/common.js";
import {
  adapterIdOf,
  adapterNotFound,
  canaryEnded,
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
  RegistryChangeOptions,
} from "./adapter-registry.js";
import { closeCanary, getCanary, insertCanary, listCanaries, runningCanary } from "./sql-canaries.js";

/** Options of `SqlAdapterRegistry`. */
export interface SqlAdapterRegistryOptions {
  store: Pick<Store, "db" | "notifications">;
}

type Period = Selectable<AdapterActivationRow>;

/**
 * Adapters in the application's own database, shared by all of its processes. Changes of one name, or of one domain's serving
 * adapter, take turns by an advisory lock; unique indexes hold what the locks promise.
 * @example
 * ```ts
 * const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }) });
 * await router.refresh();
 * ```
 */
export class SqlAdapterRegistry implements AdapterRegistry {
  readonly #db: Store["db"];
  readonly #notifications: Store["notifications"];

  constructor({ store }: SqlAdapterRegistryOptions) {
    this.#db = store.db;
    this.#notifications = store.notifications;
  }

  async register(input: AdapterInput, options: RegistryChangeOptions = {}): Promise<Adapter> {
    const checked = checkAdapterInput(input);
    return this.#change(options, async (transaction) => {
      await lock(transaction, "name", checked.name);
      const version = checked.version ?? (await nextVersion(transaction, checked.name));
      const existing = await findRow(transaction, adapterIdOf(checked.name, version));
      if (existing) return sameAdapterOrConflict(adapterOf(existing), checked);
      const adapter = candidateOf(checked, version, new Date());
      const row = await transaction
        .insertInto("adapters")
        .values({
          id: adapter.id,
          name: adapter.name,
          version,
          domain: adapter.domain,
          path: adapter.path,
          base_model: adapter.baseModel,
          sha256: adapter.sha256,
          status: "candidate",
          revoked_reason: null,
          metrics: JSON.stringify(adapter.metrics),
          lineage: JSON.stringify(adapter.lineage),
          examples: JSON.stringify(adapter.examples),
          metadata: JSON.stringify(adapter.metadata),
          activated_at: null,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      if (checked.identity) {
        const identity = JSON.stringify(checked.identity);
        await transaction.insertInto("adapter_identities").values({ adapter_id: adapter.id, identity }).execute();
      }
      return adapterOf(row);
    });
  }

  async identity(id: string, options: CallOptions = {}): Promise<AdapterIdentity | null> {
    throwIfAborted(options);
    const row = await this.#db.selectFrom("adapter_identities").select("identity").where("adapter_id", "=", id).executeTakeFirst();
    if (row !== undefined) return AdapterIdentity.parse(row.identity);
    await getRow(this.#db, id);
    return null;
  }

  async get(id: string, options: RegistryChangeOptions = {}): Promise<Adapter> {
    throwIfAborted(options);
    return adapterOf(await getRow(options.transaction ?? this.#db, id));
  }

  async list({ domain, status, name }: AdapterFilter = {}, options: CallOptions = {}): Promise<Adapter[]> {
    throwIfAborted(options);
    let query = this.#db.selectFrom("adapters").selectAll().orderBy("created_at").orderBy("id");
    if (domain !== undefined) query = query.where("domain", "=", domain);
    if (status !== undefined) query = query.where("status", "=", status);
    if (name !== undefined) query = query.where("name", "=", name);
    return (await query.execute()).map(adapterOf);
  }

  async nextVersion(name: string, options: RegistryChangeOptions = {}): Promise<number> {
    throwIfAborted(options);
    return nextVersion(options.transaction ?? this.#db, name);
  }

  async activate(id: string, options: ActivationOptions = {}): Promise<ActivationChange> {
    return this.#changeDomainOf(id, options, async (transaction, adapter, open) => {
      if (adapter.revoked_reason !== null) throw revokedAdapter(id, adapter.status, adapter.revoked_reason);
      if (open?.adapter_id === id) return unchanged(transaction, adapter.domain, open);
      const { reason = "activated" } = options;
      await endRunning(transaction, adapter.domain, (canary) =>
        canary.adapterId === id ? { status: "promoted", reason } : { status: "superseded", reason: `${id} serves the domain: ${reason}` },
      );
      return change(transaction, adapter.domain, id, reason, open, open?.id ?? null);
    });
  }

  async deactivate(id: string, options: ActivationOptions = {}): Promise<ActivationChange> {
    return this.#changeDomainOf(id, options, async (transaction, adapter, open) => {
      const { reason = "deactivated" } = options;
      await endRunning(transaction, adapter.domain, (canary) => endWithout(canary, id, reason));
      if (open?.adapter_id !== id) return unchanged(transaction, adapter.domain, open);
      return change(transaction, adapter.domain, null, reason, open, open.id);
    });
  }

  async rollback(domain: string, options: ActivationOptions = {}): Promise<ActivationChange> {
    return this.#changeServing(options, async (transaction) => {
      await lock(transaction, "domain", domain);
      const { reason = "rolled back" } = options;
      const open = await openPeriod(transaction, domain);
      if (await endRunning(transaction, domain, () => ({ status: "rolled_back", reason }))) return unchanged(transaction, domain, open);
      const target = await rollbackTarget(transaction, open);
      if ((open?.adapter_id ?? null) === (target?.adapter_id ?? null)) return unchanged(transaction, domain, open);
      return change(transaction, domain, target?.adapter_id ?? null, reason, open, target?.parent_id ?? null);
    });
  }

  async revoke(id: string, status: "rejected" | "retired", reason: string, options: RegistryChangeOptions = {}): Promise<Adapter> {
    return this.#changeDomainOf(id, options, async (transaction, adapter, open) => {
      await endRunning(transaction, adapter.domain, (canary) => endWithout(canary, id, reason));
      if (open?.adapter_id === id) await change(transaction, adapter.domain, null, reason, open, open.id);
      const row = await transaction
        .updateTable("adapters")
        .set({ status, revoked_reason: adapter.revoked_reason ?? reason, examples: "[]" })
        .where("id", "=", id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await transaction.deleteFrom("adapter_identities").where("adapter_id", "=", id).execute();
      return adapterOf(row);
    });
  }

  async history(domain: string, options: CallOptions = {}): Promise<ActivationPeriod[]> {
    throwIfAborted(options);
    const rows = await this.#db.selectFrom("adapter_activations").selectAll().where("domain", "=", domain).orderBy("id").execute();
    return rows.map((row) => ({
      domain: row.domain,
      adapterId: row.adapter_id,
      startedAt: row.started_at.toISOString(),
      endedAt: row.ended_at?.toISOString() ?? null,
      reason: row.reason,
    }));
  }

  async startCanary(id: string, start: CanaryStart, options: RegistryChangeOptions = {}): Promise<Canary> {
    return this.#changeDomainOf(id, options, async (transaction, adapter, open) => {
      checkCanaryStart(adapterOf(adapter), start.share);
      const { domain } = adapter;
      await endRunning(transaction, domain, () => ({ status: "superseded", reason: `${id} is the domain's canary now` }));
      const canary = { ...start, domain, adapterId: id, incumbentId: open?.adapter_id ?? null };
      return insertCanary(transaction, canary, await databaseTime(transaction));
    });
  }

  async endCanary(id: string, end: CanaryEnd, options: RegistryChangeOptions = {}): Promise<Canary> {
    return this.#changeServing(options, async (transaction) => {
      const { domain, adapterId } = await getCanary(transaction, id);
      await lock(transaction, "domain", domain);
      const present = await getCanary(transaction, id);
      if (present.endedAt !== null) throw canaryEnded(present);
      const ended = await closeCanary(transaction, id, end, await databaseTime(transaction));
      if (end.status === "promoted") await this.activate(adapterId, { transaction, reason: end.reason });
      return ended;
    });
  }

  async listCanaries(filter: CanaryFilter = {}, options: CallOptions = {}): Promise<Canary[]> {
    throwIfAborted(options);
    return listCanaries(this.#db, filter);
  }

  onChange(listener: () => void): () => void {
    return this.#notifications.subscribe("adapters", listener);
  }

  async #change<T>(options: RegistryChangeOptions, work: (transaction: Transaction<Database>) => Promise<T>): Promise<T> {
    throwIfAborted(options);
    return inTransaction(options.transaction ?? this.#db, work);
  }

  /** A change of what serves, of which every process of this database hears when it is committed. */
  async #changeServing<T>(options: RegistryChangeOptions, work: (transaction: Transaction<Database>) => Promise<T>): Promise<T> {
    const result = await this.#change(options, async (transaction) => {
      await notifyOthers(transaction, "adapters", "changed");
      return work(transaction);
    });
    if (options.transaction === undefined) this.#notifications.announce("adapters", null);
    return result;
  }

  /** Locks the adapter's domain, and reads adapter and open period under the lock. */
  async #changeDomainOf<T>(
    id: string,
    options: RegistryChangeOptions,
    work: (transaction: Transaction<Database>, adapter: Selectable<AdapterRow>, open: Period | undefined) => Promise<T>,
  ): Promise<T> {
    return this.#changeServing(options, async (transaction) => {
      const { domain } = await getRow(transaction, id);
      await lock(transaction, "domain", domain);
      return work(transaction, await getRow(transaction, id), await openPeriod(transaction, domain));
    });
  }
}

/** Held until the transaction ends. A statement of its own: what follows must see what the holder before committed. */
async function lock(transaction: Transaction<Database>, kind: "name" | "domain", key: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`clara:adapter:${kind}:${key}`}, 0))`.execute(transaction);
}

async function nextVersion(executor: Executor, name: string): Promise<number> {
  const row = await executor
    .selectFrom("adapters")
    .select(({ fn }) => fn.max("version").as("latest"))
    .where("name", "=", name)
    .executeTakeFirst();
  return 1 + (row?.latest ?? 0);
}

function findRow(executor: Executor, id: string) {
  return executor.selectFrom("adapters").selectAll().where("id", "=", id).executeTakeFirst();
}

async function getRow(executor: Executor, id: string): Promise<Selectable<AdapterRow>> {
  const row = await findRow(executor, id);
  if (row === undefined) throw adapterNotFound(id);
  return row;
}

function openPeriod(executor: Executor, domain: string): Promise<Period | undefined> {
  return executor
    .selectFrom("adapter_activations")
    .selectAll()
    .where("domain", "=", domain)
    .where("ended_at", "is", null)
    .executeTakeFirst();
}

/** Ends the domain's canary, if one runs, in the way that `endOf` says; undefined lets it run. */
async function endRunning(
  transaction: Transaction<Database>,
  domain: string,
  endOf: (canary: Canary) => CanaryEnd | undefined,
): Promise<boolean> {
  const canary = await runningCanary(transaction, domain);
  const end = canary && endOf(canary);
  if (canary === undefined || end === undefined) return false;
  await closeCanary(transaction, canary.id, end, await databaseTime(transaction));
  return true;
}

/** The nearest period before the present one whose adapter may serve; a period of the base model always may. */
async function rollbackTarget(executor: Executor, open: Period | undefined): Promise<Period | undefined> {
  let parentId = open?.parent_id ?? null;
  while (parentId !== null) {
    const period = await executor.selectFrom("adapter_activations").selectAll().where("id", "=", parentId).executeTakeFirstOrThrow();
    if (period.adapter_id === null) return period;
    const { revoked_reason } = await getRow(executor, period.adapter_id);
    if (revoked_reason === null && period.adapter_id !== open!.adapter_id) return period;
    parentId = period.parent_id;
  }
  return undefined;
}

async function change(
  transaction: Transaction<Database>,
  domain: string,
  adapterId: string | null,
  reason: string,
  open: Period | undefined,
  parentId: string | null,
): Promise<ActivationChange> {
  const now = await databaseTime(transaction);
  if (open) await transaction.updateTable("adapter_activations").set({ ended_at: now }).where("id", "=", open.id).execute();
  if (open?.adapter_id) await transaction.updateTable("adapters").set({ status: "retired" }).where("id", "=", open.adapter_id).execute();
  if (adapterId !== null) {
    await transaction.updateTable("adapters").set({ status: "active", activated_at: now }).where("id", "=", adapterId).execute();
  }
  await transaction
    .insertInto("adapter_activations")
    .values({ domain, adapter_id: adapterId, started_at: now, ended_at: null, reason, parent_id: parentId })
    .execute();
  return changeOf(transaction, domain, adapterId, open?.adapter_id ?? null);
}

/** The clock that all processes share; asked once, so that one period ends when the next begins. */
async function databaseTime(executor: Executor): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(executor);
  return rows[0]!.now;
}

function unchanged(executor: Executor, domain: string, open: Period | undefined): Promise<ActivationChange> {
  return changeOf(executor, domain, open?.adapter_id ?? null, open?.adapter_id ?? null);
}

async function changeOf(executor: Executor, domain: string, active: string | null, previous: string | null): Promise<ActivationChange> {
  return {
    domain,
    active: active === null ? null : adapterOf(await getRow(executor, active)),
    previous: previous === null ? null : adapterOf(await getRow(executor, previous)),
  };
}

function adapterOf(row: Selectable<AdapterRow>): Adapter {
  return {
    id: row.id,
    name: row.name,
    version: row.version,
    domain: row.domain,
    path: row.path,
    baseModel: row.base_model,
    sha256: row.sha256,
    status: row.status,
    metrics: row.metrics,
    lineage: row.lineage,
    examples: row.examples,
    metadata: row.metadata as Adapter["metadata"],
    createdAt: row.created_at.toISOString(),
    activatedAt: row.activated_at?.toISOString() ?? null,
    ...(row.revoked_reason === null ? {} : { revokedReason: row.revoked_reason }),
  };
}

function throwIfAborted({ signal }: CallOptions): void {
  if (signal?.aborted) throw new AbortedError("The registry call was aborted.", { cause: signal.reason });
}
