import { sql } from "kysely";
import type { Executor } from "../store/store.js";
import { hashOf } from "../support/hash-of.js";
import { tenantPart, tenantPartOf } from "../support/tenancy.js";
import { ratingUnit } from "./canary/canary-outcomes.js";

/** Who is erased: everybody of this id, or with a tenant only who gave it there. */
export interface ErasedSubject {
  subjectId: string;
  tenant: string | null;
}

/** Names a person in tombstones without naming them. */
export function subjectHash(pipeline: string, { subjectId, tenant }: ErasedSubject): string {
  return hashOf("clara-subject", pipeline, subjectId, ...(tenant === null ? [] : [tenant]));
}

/** An erasure, as journal and log keep it: without the person's name. */
export interface ErasureRecord {
  id: string;
  subjectHash: string;
  createdAt: string;
}

/** Puts an erasure into the books, where it is not there yet; with its subject, if anybody is known, until it is complete. */
export async function noteErasure(executor: Executor, pipeline: string, erasure: ErasureRecord, subject?: ErasedSubject): Promise<void> {
  await executor
    .insertInto("erasures")
    .values({
      id: erasure.id,
      pipeline,
      subject_hash: erasure.subjectHash,
      subject_id: subject?.subjectId ?? null,
      tenant: subject?.tenant ?? null,
      created_at: erasure.createdAt,
    })
    .onConflict((conflict) => conflict.column("id").doNothing())
    .execute();
}

/** What `eraseTexts` found. */
export interface ErasedTexts {
  /** Ids of the person's feedback, erased now or before. */
  feedbackIds: string[];
  /** Feedback that was erased now. */
  feedback: number;
  /** Ids of the person's samples, erased now or before. */
  sampleIds: string[];
}

/**
 * Takes a person's texts and name out of feedback and samples received up to a moment. The rows stay as tombstones, so that
 * the ledger still adds up and nothing is used again; their content may be learnt from others.
 */
export async function eraseTexts(transaction: Executor, pipeline: string, subject: ErasedSubject, until: Date): Promise<ErasedTexts> {
  const { subjectId, tenant } = subject;
  const tombstone = `erased:${subjectHash(pipeline, subject).slice(0, 24)}`;
  const feedback = await transaction
    .updateTable("feedback")
    .set({
      prompt: null,
      response: null,
      correction: null,
      comment: null,
      content_hash: null,
      idempotency_key: null,
      generation_id: null,
      reason: null,
      findings: "[]",
      sketch: null,
      sketch_key: null,
      metadata: "{}",
      quality: sql`jsonb_build_object('score', quality->'score', 'passed', quality->'passed', 'checks', '[]'::jsonb)` as never,
      subject_id: tombstone,
      erased_at: until,
    })
    .where("pipeline", "=", pipeline)
    .where("subject_id", "=", subjectId)
    .where("created_at", "<=", until)
    .$if(tenant !== null, (query) => query.where(sql`metadata->>'tenant'`, "=", tenant))
    .executeTakeFirst();
  const given = await transaction
    .selectFrom("feedback")
    .select("id")
    .where("pipeline", "=", pipeline)
    .where("subject_id", "=", tombstone)
    .execute();
  const feedbackIds = given.map(({ id }) => id);
  await transaction
    .updateTable("samples")
    .set({
      prompt: "",
      response: "",
      rejected_response: null,
      subject_id: tombstone,
      state: sql`case when state in ('claimed', 'used') then state else 'erased' end` as never,
      state_reason: "the person was erased",
      state_changed_at: until,
    })
    .where("pipeline", "=", pipeline)
    .where("subject_id", "=", subjectId)
    .where("created_at", "<=", until)
    .$if(tenant !== null, (query) => query.where(sql<boolean>`id = any(${feedbackIds}::text[])`))
    .execute();
  await forgetRater(transaction, subject);
  const samples = await transaction
    .selectFrom("samples")
    .select("id")
    .where("pipeline", "=", pipeline)
    .where("subject_id", "=", tombstone)
    .execute();
  return { feedbackIds, feedback: Number(feedback.numUpdatedRows), sampleIds: samples.map((row) => row.id) };
}

/** A canary's counts stay; who rated is not known any more, not even by a hash. */
async function forgetRater(transaction: Executor, { subjectId, tenant }: ErasedSubject): Promise<void> {
  const all = await transaction.selectFrom("canaries").select(["id", "domain"]).execute();
  // in a domain that tenants share nobody knows whose rating it was, and forgetting it costs nothing
  const canaries = all.filter(({ domain }) => tenant === null || [null, tenantPart(tenant)].includes(tenantPartOf(domain)));
  if (canaries.length === 0) return;
  await transaction
    .updateTable("canary_outcomes")
    .set({ unit: sql<string>`'erased:' || number` })
    .where("kind", "=", "rating")
    .where(
      "unit",
      "in",
      canaries.map(({ id }) => ratingUnit(id, subjectId)),
    )
    .execute();
}
