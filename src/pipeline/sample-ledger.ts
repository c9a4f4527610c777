import { sql } from "kysely";
import type { Executor } from "../store/store.js";
import type { SampleRow } from "./feedback-rows.js";
import type { Suspects } from "./probes/probe.js";

/** How a cycle's samples end. */
export type SampleEnd =
  /** In the training set of an activated adapter. */
  | { kind: "used" }
  /** Judged and refused: they are not tried again. */
  | { kind: "rejected_by_gate"; reason: string }
  /** Back to the buffer as if nothing had happened, to be joined by more. */
  | { kind: "inconclusive" }
  /** Back to the buffer; one that was in `maxAttempts` failed cycles is quarantined. */
  | { kind: "failed"; reason: string; maxAttempts: number };

/** Claims samples for a cycle: their state and the manifest, in the transaction that creates the cycle. */
export async function claimSamples(
  transaction: Executor,
  claim: { pipeline: string; cycleId: string; sampleIds: readonly string[]; now: string },
): Promise<void> {
  for (let start = 0; start < claim.sampleIds.length; start += 1000) {
    const ids = claim.sampleIds.slice(start, start + 1000);
    await transaction
      .updateTable("samples")
      .set((eb) => ({ state: "claimed", cycle_id: claim.cycleId, attempts: eb("attempts", "+", 1), state_changed_at: claim.now }))
      .where("id", "in", ids)
      .execute();
    await transaction
      .insertInto("cycle_samples")
      .values(ids.map((id) => ({ cycle_id: claim.cycleId, sample_id: id, pipeline: claim.pipeline, role: "learn", released_at: null })))
      .execute();
  }
}

/** Notes which earlier samples a cycle replays or is tested on: an erasure must find its adapter and its job by them too. */
export async function noteEarlier(
  executor: Executor,
  note: { pipeline: string; cycleId: string; role: "replay" | "test"; sampleIds: readonly string[] },
): Promise<void> {
  for (let start = 0; start < note.sampleIds.length; start += 1000) {
    await executor
      .insertInto("cycle_samples")
      .values(
        note.sampleIds
          .slice(start, start + 1000)
          .map((id) => ({ cycle_id: note.cycleId, sample_id: id, pipeline: note.pipeline, role: note.role, released_at: null })),
      )
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}

/** Sets aside what preparation left out, with its reasons; it leaves the manifest. */
export async function excludeSamples(
  transaction: Executor,
  exclusion: { cycleId: string; removed: readonly { sampleId: string; reason: string }[]; now: string },
): Promise<void> {
  for (const { sampleId, reason } of exclusion.removed) {
    const changed = await transaction
      .updateTable("samples")
      .set({ state: "excluded", state_reason: reason, state_changed_at: exclusion.now })
      .where("id", "=", sampleId)
      .where("cycle_id", "=", exclusion.cycleId)
      .where("state", "=", "claimed")
      .executeTakeFirst();
    if (Number(changed.numUpdatedRows) > 0) await releaseManifest(transaction, exclusion.cycleId, exclusion.now, sampleId);
  }
}

/** Notes what the evaluation did not show to be learnt, in place of what an earlier one noted. */
export async function noteUnlearnt(transaction: Executor, note: { cycleId: string; sampleIds: readonly string[] }): Promise<void> {
  await transaction
    .updateTable("cycle_samples")
    .set({ unlearnt: sql<boolean>`sample_id = any(${[...note.sampleIds]}::text[])` })
    .where("cycle_id", "=", note.cycleId)
    .execute();
}

/**
 * Takes samples that the probes point at out of the cycle, and out of the earlier ones that learnt them: they wait for a person, and no cycle
 * learns, replays or tests them before one approved.
 */
export async function quarantineSamples(
  transaction: Executor,
  quarantine: { cycleId: string; suspects: readonly Suspects[]; now: string },
): Promise<void> {
  const { cycleId, now } = quarantine;
  for (const { code, sampleIds, reason } of quarantine.suspects) {
    const taken = await transaction
      .updateTable("samples")
      .set({ state: "quarantined", state_reason: reason, state_changed_at: now })
      .where("id", "in", sampleIds)
      .where((eb) => eb.or([eb.and({ cycle_id: cycleId, state: "claimed" }), eb("state", "=", "used")]))
      .where((eb) => eb.or([eb("prompt", "!=", ""), eb("response", "!=", "")]))
      .returning(["id", "cycle_id"])
      .execute();
    if (taken.length === 0) continue;
    const ids = taken.map(({ id }) => id);
    await transaction.updateTable("feedback").set({ status: "review", code, reason }).where("id", "in", ids).execute();
    for (const sample of taken) await releaseManifest(transaction, sample.cycle_id as string, now, sample.id);
  }
}

/** Gives back what a withdrawn adapter's cycle had learnt and no adapter that serves knows: the next cycle learns it anew. */
export async function giveBackLearnt(transaction: Executor, withdrawal: { cycleId: string; now: string }): Promise<void> {
  const { cycleId, now } = withdrawal;
  const returned = await transaction
    .updateTable("samples")
    .set({ state: "waiting", cycle_id: null, attempts: 0, state_changed_at: now })
    .where("cycle_id", "=", cycleId)
    .where("state", "=", "used")
    .where((eb) => eb.or([eb("prompt", "!=", ""), eb("response", "!=", "")]))
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("cycle_samples as learnt")
            .innerJoin("cycles", "cycles.id", "learnt.cycle_id")
            .innerJoin("adapters", "adapters.id", "cycles.adapter_id")
            .select("learnt.sample_id")
            .whereRef("learnt.sample_id", "=", "samples.id")
            .where("learnt.role", "!=", "test")
            .where("adapters.status", "=", "active"),
        ),
      ),
    )
    .returning("id")
    .execute();
  for (const { id } of returned) await releaseManifest(transaction, cycleId, now, id);
  await leaveOutReplaced(transaction, cycleId, now);
}

/** What comes back from a cycle does not wait beside the version that took its place meanwhile. */
async function leaveOutReplaced(transaction: Executor, cycleId: string, now: string): Promise<void> {
  await sql`
    update clara.samples s set state = 'excluded', state_reason = 'replaced by ' || newer.id, state_changed_at = ${now}
    from clara.feedback newer, clara.cycle_samples m
    where m.cycle_id = ${cycleId} and m.role = 'learn' and s.id = m.sample_id and s.state = 'waiting'
      and newer.replaces = s.id and newer.pipeline = s.pipeline and newer.status = 'accepted'`.execute(transaction);
}

/** Puts a sample that a person approved among those that wait; one that was quarantined is free again. */
export async function admitApproved(transaction: Executor, sample: SampleRow): Promise<void> {
  const { id: _id, pipeline: _pipeline, created_at: _createdAt, ...learnt } = sample;
  await transaction
    .insertInto("samples")
    .values(sample)
    .onConflict((conflict) => conflict.column("id").doUpdateSet(learnt).where("samples.state", "=", "quarantined"))
    .execute();
}

/** Ends a cycle's claim on its samples, in the transaction that ends the cycle. */
export async function settleSamples(transaction: Executor, settlement: { cycleId: string; end: SampleEnd; now: string }): Promise<void> {
  const { cycleId, end, now } = settlement;
  const erased = sql<boolean>`prompt = '' and response = ''`;
  const claimed = () => transaction.updateTable("samples").where("cycle_id", "=", cycleId).where("state", "=", "claimed");
  switch (end.kind) {
    case "used":
      await claimed().set({ state: "used", state_changed_at: now }).execute();
      return;
    case "rejected_by_gate":
      await claimed()
        .set({
          state: sql`case when ${erased} then 'erased' else 'rejected_by_gate' end` as never,
          state_reason: end.reason,
          state_changed_at: now,
        })
        .execute();
      return;
    case "inconclusive":
      await claimed()
        .set((eb) => ({
          state: sql`case when ${erased} then 'erased' else 'waiting' end` as never,
          cycle_id: null,
          attempts: eb("attempts", "-", 1),
          state_changed_at: now,
        }))
        .execute();
      break;
    case "failed":
      await claimed()
        .set({
          state: sql`case when ${erased} then 'erased' when attempts >= ${end.maxAttempts} then 'quarantined' else 'waiting' end` as never,
          state_reason: sql`case when attempts >= ${end.maxAttempts} then ${end.reason}::text else null end` as never,
          cycle_id: null,
          state_changed_at: now,
        })
        .execute();
      break;
  }
  await leaveOutReplaced(transaction, cycleId, now);
  await releaseManifest(transaction, cycleId, now);
}

async function releaseManifest(transaction: Executor, cycleId: string, now: string, sampleId?: string): Promise<void> {
  let query = transaction
    .updateTable("cycle_samples")
    .set({ released_at: now })
    .where("cycle_id", "=", cycleId)
    .where("role", "=", "learn")
    .where("released_at", "is", null);
  if (sampleId !== undefined) query = query.where("sample_id", "=", sampleId);
  await query.execute();
}
