import { randomUUID } from "node:crypto";
import type { Selectable, Transaction } from "kysely";
import type { Database } from "../store/schema.js";
import type { Executor } from "../store/store.js";
import type { CanaryTable } from "../store/tables/canary.js";
import type { Canary, CanaryEvidence } from "../types/canary.js";
import { canaryNotFound } from "./adapter-record.js";
import type { CanaryEnd, CanaryFilter, CanaryStart } from "./adapter-registry.js";

type Row = Selectable<CanaryTable>;

/** Puts a version on trial; whoever ran before in the domain must have been ended. */
export async function insertCanary(
  transaction: Transaction<Database>,
  canary: Pick<Canary, "domain" | "adapterId" | "incumbentId"> & CanaryStart,
  now: Date,
): Promise<Canary> {
  const row = await transaction
    .insertInto("canaries")
    .values({
      id: randomUUID(),
      domain: canary.domain,
      adapter_id: canary.adapterId,
      incumbent_id: canary.incumbentId,
      share: canary.share,
      slow_above_ms: canary.slowAboveMs ?? null,
      status: "running",
      reason: null,
      evidence: null,
      started_at: now,
      ends_by: canary.limitMs === undefined ? null : new Date(now.getTime() + canary.limitMs),
      ended_at: null,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await transaction.updateTable("adapters").set({ status: "canary" }).where("id", "=", canary.adapterId).execute();
  return canaryOf(row);
}

export async function runningCanary(executor: Executor, domain: string): Promise<Canary | undefined> {
  const row = await executor
    .selectFrom("canaries")
    .selectAll()
    .where("domain", "=", domain)
    .where("ended_at", "is", null)
    .executeTakeFirst();
  return row && canaryOf(row);
}

export async function getCanary(executor: Executor, id: string): Promise<Canary> {
  const row = await executor.selectFrom("canaries").selectAll().where("id", "=", id).executeTakeFirst();
  if (row === undefined) throw canaryNotFound(id);
  return canaryOf(row);
}

export async function listCanaries(executor: Executor, { domain, status }: CanaryFilter): Promise<Canary[]> {
  let query = executor.selectFrom("canaries").selectAll().orderBy("started_at").orderBy("id");
  if (domain !== undefined) query = query.where("domain", "=", domain);
  if (status !== undefined) query = query.where("status", "=", status);
  return (await query.execute()).map(canaryOf);
}

/** Closes the record; the adapter's own status is the caller's to set. */
export async function closeCanary(transaction: Transaction<Database>, id: string, end: CanaryEnd, now: Date): Promise<Canary> {
  const row = await transaction
    .updateTable("canaries")
    .set({
      status: end.status,
      reason: end.reason,
      ended_at: now,
      ...(end.evidence === undefined ? {} : { evidence: JSON.stringify(end.evidence) }),
    })
    .where("id", "=", id)
    .returningAll()
    .executeTakeFirstOrThrow();
  if (end.status !== "promoted") {
    const retired = transaction.updateTable("adapters").set({ status: "retired" });
    await retired.where("id", "=", row.adapter_id).where("status", "=", "canary").execute();
  }
  return canaryOf(row);
}

function canaryOf(row: Row): Canary {
  return {
    id: row.id,
    domain: row.domain,
    adapterId: row.adapter_id,
    incumbentId: row.incumbent_id,
    share: row.share,
    slowAboveMs: row.slow_above_ms,
    startedAt: row.started_at.toISOString(),
    endsBy: row.ends_by?.toISOString() ?? null,
    status: row.status,
    endedAt: row.ended_at?.toISOString() ?? null,
    reason: row.reason,
    evidence: row.evidence as CanaryEvidence | null,
  };
}
