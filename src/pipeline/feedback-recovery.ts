import { sql } from "kysely";
import type { Store } from "../store/store.js";
import type { ErasureLog } from "./erasure-log.js";
import { type ErasedSubject, type ErasureRecord, eraseTexts, noteErasure, subjectHash } from "./erasure-rules.js";
import { type IntakeRecord, insertRows, type SampleRow } from "./feedback-rows.js";
import { type HoldRecord, holdFeedback } from "./held-feedback.js";
import { insertRecords, lockIntake, retireReplaced, retireReplacedBy } from "./intake-writer.js";
import { admitApproved } from "./sample-ledger.js";

/** A decision of a reviewer, as the journal keeps it. */
export interface ReviewRecord {
  feedbackId: string;
  status: "accepted" | "rejected" | "duplicate";
  reason: string | null;
  reviewer: string | null;
  decidedAt: string;
  sample: SampleRow | null;
}

const GROUP = 200;

/** Erases again what a restored backup of the database brought back; `resumeErasures` completes it. */
export async function reapplyErasures(store: Store, pipeline: string, log: ErasureLog): Promise<void> {
  const logged = await log.read(pipeline);
  if (logged.length === 0) return;
  const { rows } = await sql<{ id: string }>`select id from clara.erasures where id = any(${logged.map(({ id }) => id)}::text[])`.execute(
    store.db,
  );
  const known = new Set(rows.map(({ id }) => id));
  for (const erasure of logged) if (!known.has(erasure.id)) await restoreErasure(store, pipeline, erasure);
}

/**
 * Puts back what the journal holds and the database lost (an embedded database after a power loss): feedback, then what was held back of
 * it, then reviewers' decisions, then erasures. Every step is idempotent by id. Gives the number of entries that were read.
 */
export async function recoverFromJournal(store: Store, pipeline: string): Promise<number> {
  const { journal } = store;
  if (journal === null) return 0;
  let group: IntakeRecord[] = [];
  const flush = async () => {
    const records = group;
    group = [];
    if (records.length > 0) await restoreFeedback(store, pipeline, records);
  };
  let entries = await journal.replay("feedback", async (entry) => {
    const record = entry.payload as IntakeRecord;
    if (record.feedback.pipeline !== pipeline) return;
    group.push(record);
    if (group.length >= GROUP) await flush();
  });
  await flush();
  entries += await journal.replay("feedback-hold", (entry) => restoreHold(store, pipeline, entry.payload as HoldRecord));
  entries += await journal.replay("feedback-review", (entry) => restoreReview(store, pipeline, entry.payload as ReviewRecord));
  entries += await journal.replay("erasure", (entry) => restoreErasure(store, pipeline, entry.payload as ErasureRecord));
  return entries;
}

async function restoreFeedback(store: Store, pipeline: string, records: readonly IntakeRecord[]): Promise<void> {
  await store.db.transaction().execute(async (transaction) => {
    await lockIntake(transaction, pipeline);
    const ids = records.map((record) => record.feedback.id);
    const present = await transaction.selectFrom("feedback").select("id").where("id", "in", ids).execute();
    const known = new Set(present.map((row) => row.id));
    const lost = records.filter((record) => !known.has(record.feedback.id));
    if (lost.length === 0) return;
    const feedback = lost.map((record) => record.feedback);
    const inserted = await sql<{ id: string }>`${insertRows("feedback", feedback)} on conflict do nothing returning id`.execute(
      transaction,
    );
    const restored = new Set(inserted.rows.map((row) => row.id));
    // what held the same content or key was rejected or erased before this was accepted, but is replayed only after it
    const displaced = lost.filter((record) => !restored.has(record.feedback.id));
    await insertRecords(transaction, [
      ...displaced.map((record) => ({ ...record, feedback: { ...record.feedback, content_hash: null, idempotency_key: null } })),
      ...lost.filter((record) => restored.has(record.feedback.id)),
    ]);
    // An old version that is restored with its new one had no sample yet when the new one came.
    await retireReplacedBy(transaction, lost);
  });
}

async function restoreHold(store: Store, pipeline: string, hold: HoldRecord): Promise<void> {
  if (hold.pipeline !== pipeline) return;
  await store.db.transaction().execute((transaction) => holdFeedback(transaction, hold));
}

async function restoreReview(store: Store, pipeline: string, review: ReviewRecord): Promise<void> {
  await store.db.transaction().execute(async (transaction) => {
    await lockIntake(transaction, pipeline);
    const changed = await transaction
      .updateTable("feedback")
      .set({ status: review.status, reason: review.reason, reviewer: review.reviewer, decided_at: review.decidedAt })
      .where("id", "=", review.feedbackId)
      .where("pipeline", "=", pipeline)
      .where("status", "=", "review")
      .returning("replaces")
      .executeTakeFirst();
    if (changed === undefined || review.sample === null) return;
    if (changed.replaces !== null) await retireReplaced(transaction, changed.replaces, review.feedbackId);
    await admitApproved(transaction, review.sample);
  });
}

async function restoreErasure(store: Store, pipeline: string, erasure: ErasureRecord): Promise<void> {
  const rows = await store.db
    .selectFrom("feedback")
    .select(["subject_id", sql<string | null>`metadata->>'tenant'`.as("tenant")])
    .distinct()
    .where("pipeline", "=", pipeline)
    .where("subject_id", "is not", null)
    .where("erased_at", "is", null)
    .where("created_at", "<=", new Date(erasure.createdAt))
    .execute();
  const subjects = rows.flatMap(({ subject_id, tenant }): ErasedSubject[] => {
    const subjectId = subject_id as string;
    return [
      { subjectId, tenant: null },
      { subjectId, tenant },
    ];
  });
  const subject = subjects.find((candidate) => subjectHash(pipeline, candidate) === erasure.subjectHash);
  await noteErasure(store.db, pipeline, erasure, subject);
  if (subject !== undefined) {
    await store.db.transaction().execute((transaction) => eraseTexts(transaction, pipeline, subject, new Date(erasure.createdAt)));
  }
}
