import { randomUUID } from "node:crypto";
import { sql, type Updateable } from "kysely";
import { ConflictError, NotFoundError, ValidationError } from "../errors.js";
import type { Executor, Store } from "../store/store.js";
import type { CycleTable } from "../store/tables/cycle.js";
import type { LearningCycle, StageName } from "../types/cycle.js";
import { type CycleRow, type CycleState, toLearningCycle } from "./cycle-record.js";
import { storableJson } from "./storable-text.js";

/** Which cycles to list; newest first. */
export interface CycleFilter {
  domain?: string;
  status?: LearningCycle["status"] | readonly LearningCycle["status"][];
  /** Default 50, at most 500. */
  limit?: number;
  offset?: number;
}

/** Another process drives the cycle now: whoever meets this stops without a trace. */
export class LeaseLost extends Error {}

/** Someone asked the cycle to end. */
export class CycleCancelled extends Error {}

const POSITIONS: Readonly<Record<StageName, number>> = {
  collect: 1,
  augment: 2,
  prepare: 3,
  train: 4,
  evaluate: 5,
  gate: 6,
  activate: 7,
  rollback: 8,
};

/** Reads and writes cycles; every write of a driver is fenced by its lease. */
export class CycleStore {
  readonly #store: Store;
  readonly #pipeline: string;
  readonly #leaseMs: number;
  readonly #clock: () => number;
  /** Names this pipeline instance in leases. */
  readonly owner = randomUUID();

  constructor(store: Store, pipeline: string, options: { leaseMs: number; clock: () => number }) {
    this.#store = store;
    this.#pipeline = pipeline;
    this.#leaseMs = options.leaseMs;
    this.#clock = options.clock;
  }

  now(): string {
    return new Date(this.#clock()).toISOString();
  }

  /**
   * Adds an open cycle with its first stage ended, owned by this instance.
   * @throws ConflictError `cycle_running` where the domain has an open one
   */
  async insert(transaction: Executor, cycle: { id: string; domain: string; trigger: string; stage: StageName }): Promise<void> {
    const inserted = await transaction
      .insertInto("cycles")
      .values({
        ...cycle,
        pipeline: this.#pipeline,
        status: "running",
        samples: 0,
        dataset_id: null,
        job_id: null,
        adapter_id: null,
        state: "{}",
        evaluation: null,
        gate: null,
        error: null,
        owner: this.owner,
        lease_until: this.#leaseEnd() as never,
        attempts: 0,
        next_attempt_at: null,
        created_at: this.now(),
        ended_at: null,
      })
      .onConflict((conflict) => conflict.columns(["pipeline", "domain"]).where("ended_at", "is", null).doNothing())
      .returning("id")
      .executeTakeFirst();
    if (inserted !== undefined) return;
    const open = await transaction
      .selectFrom("cycles")
      .select("id")
      .where("pipeline", "=", this.#pipeline)
      .where("domain", "=", cycle.domain)
      .where("ended_at", "is", null)
      .executeTakeFirst();
    throw new ConflictError(
      "cycle_running",
      `The domain "${cycle.domain}" has a running cycle${open ? `, "${open.id}"` : ""}. Wait for its end.`,
      {
        details: { domain: cycle.domain, cycleId: open?.id },
        isRetryable: true,
      },
    );
  }

  /** One cycle with its stages. @throws NotFoundError `cycle_not_found` */
  async get(id: string): Promise<LearningCycle> {
    const row = await this.#store.db
      .selectFrom("cycles")
      .selectAll()
      .where("id", "=", id)
      .where("pipeline", "=", this.#pipeline)
      .executeTakeFirst();
    if (row === undefined) {
      throw new NotFoundError("cycle_not_found", `There is no cycle "${id}" in the pipeline "${this.#pipeline}".`, { details: { id } });
    }
    return (await this.#withStages([row]))[0] as LearningCycle;
  }

  async list(filter: CycleFilter): Promise<LearningCycle[]> {
    const { limit = 50, offset = 0 } = filter;
    if (!(Number.isInteger(limit) && limit >= 1 && Number.isInteger(offset) && offset >= 0)) {
      throw new ValidationError("input_invalid", "limit must be a whole number of 1 or more, offset one of 0 or more.", {
        details: { limit, offset },
      });
    }
    let query = this.#store.db.selectFrom("cycles").selectAll().where("pipeline", "=", this.#pipeline);
    if (filter.domain !== undefined) query = query.where("domain", "=", filter.domain);
    if (filter.status !== undefined)
      query = query.where("status", "in", typeof filter.status === "string" ? [filter.status] : [...filter.status]);
    const rows = await query.orderBy("created_at", "desc").orderBy("id").limit(Math.min(limit, 500)).offset(offset).execute();
    return this.#withStages(rows);
  }

  /** Takes the lease of an open cycle that nobody else holds; null where somebody does, or where it has ended. */
  async acquire(id: string): Promise<CycleRow | null> {
    const row = await this.#store.db
      .updateTable("cycles")
      .set({ owner: this.owner, lease_until: this.#leaseEnd() as never, next_attempt_at: null })
      .where("id", "=", id)
      .where("ended_at", "is", null)
      .where((eb) => eb.or([eb("owner", "is", null), eb("owner", "=", this.owner), eb("lease_until", "<", sql<Date>`now()`)]))
      .returningAll()
      .executeTakeFirst();
    return row ?? null;
  }

  /** Open cycles that nobody drives and whose wait is over. */
  async findOrphans(): Promise<string[]> {
    const rows = await this.#store.db
      .selectFrom("cycles")
      .select("id")
      .where("pipeline", "=", this.#pipeline)
      .where("ended_at", "is", null)
      .where((eb) => eb.or([eb("owner", "is", null), eb("lease_until", "<", sql<Date>`now()`)]))
      .where((eb) => eb.or([eb("next_attempt_at", "is", null), eb("next_attempt_at", "<=", sql<Date>`now()`)]))
      .execute();
    return rows.map((row) => row.id);
  }

  /** Gives up every lease but this instance's: only one process can open an embedded database, so their holders are dead. */
  async dropForeignLeases(): Promise<void> {
    await this.#store.db
      .updateTable("cycles")
      .set({ owner: null, lease_until: null })
      .where("pipeline", "=", this.#pipeline)
      .where("ended_at", "is", null)
      .where("owner", "!=", this.owner)
      .execute();
  }

  /**
   * Lengthens the lease.
   * @throws LeaseLost, CycleCancelled
   */
  async heartbeat(id: string): Promise<void> {
    await this.#fenced(this.#store.db, id, {});
  }

  /** Lets the cycle go, to be tried again after a time. */
  async release(id: string, options: { status?: "waiting"; attempts?: number; delayMs?: number } = {}): Promise<void> {
    await this.#store.db
      .updateTable("cycles")
      .set({
        owner: null,
        lease_until: null,
        ...(options.status === undefined ? {} : { status: options.status }),
        ...(options.attempts === undefined ? {} : { attempts: options.attempts }),
        ...(options.delayMs === undefined ? {} : { next_attempt_at: sql`now() + ${options.delayMs} * interval '1 millisecond'` as never }),
      })
      .where("id", "=", id)
      .where("owner", "=", this.owner)
      .where("ended_at", "is", null)
      .execute();
  }

  /**
   * Writes to a cycle that this instance drives; `state` is merged.
   * @throws LeaseLost, CycleCancelled
   */
  async update(executor: Executor, id: string, patch: Updateable<CycleTable>, state: CycleState = {}): Promise<CycleRow> {
    return this.#fenced(executor, id, patch, state);
  }

  /** Begins a stage, or begins it again. */
  async beginStage(executor: Executor, id: string, name: StageName): Promise<void> {
    await executor
      .insertInto("cycle_stages")
      .values({ cycle_id: id, name, position: POSITIONS[name], started_at: this.now(), ended_at: null, detail: "{}" })
      .onConflict((conflict) => conflict.columns(["cycle_id", "name"]).doUpdateSet({ ended_at: null }))
      .execute();
  }

  async endStage(executor: Executor, id: string, name: StageName, detail: object): Promise<void> {
    await executor
      .updateTable("cycle_stages")
      .set({ ended_at: this.now(), detail: storableJson(detail) })
      .where("cycle_id", "=", id)
      .where("name", "=", name)
      .execute();
  }

  /** Notes progress within a stage. */
  async noteStage(id: string, name: StageName, detail: object): Promise<void> {
    await this.#store.db
      .updateTable("cycle_stages")
      .set({ detail: storableJson(detail) })
      .where("cycle_id", "=", id)
      .where("name", "=", name)
      .where("ended_at", "is", null)
      .execute();
  }

  async #fenced(executor: Executor, id: string, patch: Updateable<CycleTable>, state: CycleState = {}): Promise<CycleRow> {
    const row = await executor
      .updateTable("cycles")
      .set({
        lease_until: this.#leaseEnd() as never,
        ...patch,
        ...(Object.keys(state).length === 0 ? {} : { state: sql`cycles.state || ${storableJson(state)}::jsonb` as never }),
      })
      .where("id", "=", id)
      .where("owner", "=", this.owner)
      .where("ended_at", "is", null)
      .returningAll()
      .executeTakeFirst();
    if (row === undefined) throw new LeaseLost(`cycle ${id} is driven by another process, or has ended`);
    const { cancelReason } = row.state as CycleState;
    if (cancelReason !== undefined && row.ended_at === null) throw new CycleCancelled(cancelReason);
    return row;
  }

  #leaseEnd() {
    return sql`now() + ${this.#leaseMs} * interval '1 millisecond'`;
  }

  async #withStages(rows: readonly CycleRow[]): Promise<LearningCycle[]> {
    if (rows.length === 0) return [];
    const stages = await this.#store.db
      .selectFrom("cycle_stages")
      .selectAll()
      .where(
        "cycle_id",
        "in",
        rows.map((row) => row.id),
      )
      .orderBy("position")
      .execute();
    return rows.map((row) =>
      toLearningCycle(
        row,
        stages.filter((stage) => stage.cycle_id === row.id),
      ),
    );
  }
}
