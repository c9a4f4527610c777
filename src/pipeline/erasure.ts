import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { ClaraError, ValidationError } from "../errors.js";
import { notifyOthers } from "../store/notifications.js";
import type { Executor, Store } from "../store/store.js";
import type { CallOptions } from "../types/common.js";
import { concernedCycles, descendantsOf } from "./erasure-adapters.js";
import type { ErasureLog } from "./erasure-log.js";
import { type ErasedSubject, type ErasureRecord, eraseTexts, noteErasure, subjectHash } from "./erasure-rules.js";
import type { PipelineEmitter } from "./events.js";
import type { DatasetsPort, GenerationsPort, RouterPort, ServingPort, TrainingPort } from "./ports.js";
import { giveBackLearnt } from "./sample-ledger.js";
import { storableJson, storableText } from "./storable-text.js";

/** What an erasure did; holds no text and no name. */
export interface ErasureReport {
  id: string;
  /** Feedback rows whose texts were deleted. */
  feedback: number;
  /** Samples whose texts were deleted. */
  samples: number;
  /** Served generations that were deleted. */
  generations: number;
  /** Running cycles that were told to end, because they learn from the person. */
  cancelledCycles: string[];
  /** Adapters that learnt from the person, by their own samples, by replay or by going on from one that did: none of them serves any more. */
  adapters: { adapterId: string; domain: string; action: "retired" | "already retired" | "not registered" }[];
  erasedAt: string;
}

/** What an erasure works with. */
export interface ErasureParts {
  store: Store;
  pipeline: string;
  datasets: Pick<DatasetsPort, "eraseSubject">;
  training: Pick<TrainingPort, "eraseTexts">;
  generations: GenerationsPort | undefined;
  router: RouterPort;
  serving: ServingPort;
  events: PipelineEmitter;
  log: ErasureLog | null;
  clock: () => number;
}

/** An erasure that nobody works on any more, milliseconds after it began. */
const ABANDONED_MS = 60_000;

interface Erasure extends ErasureRecord {
  subject: ErasedSubject;
}

/** Whose an erasure is. */
export interface ErasureOptions extends CallOptions {
  /** Only what was given in this tenant's name (`metadata.tenant`). Default: everything under the id, whatever the tenant. */
  tenant?: string;
}

/**
 * Deletes what a person gave, and takes every adapter that learnt from it out of service; what others taught it waits to be learnt anew.
 * What a crash interrupts, `resumeErasures` completes, and so does the next call with the same person.
 */
export async function eraseSubject(subjectId: string, parts: ErasureParts, { tenant, ...options }: ErasureOptions): Promise<ErasureReport> {
  if (typeof subjectId !== "string" || subjectId === "") {
    throw new ValidationError("input_invalid", "eraseSubject needs the subjectId under which the feedback was given.");
  }
  if (tenant !== undefined && (typeof tenant !== "string" || tenant === "")) {
    throw new ValidationError("input_invalid", "eraseSubject's tenant must be the tenant's name; leave it out to erase the person in all.");
  }
  const { pipeline, store, clock } = parts;
  const subject: ErasedSubject = { subjectId: storableText(subjectId), tenant: tenant === undefined ? null : storableText(tenant) };
  const createdAt = new Date(clock()).toISOString();
  const erasure: Erasure = { id: randomUUID(), subject, subjectHash: subjectHash(pipeline, subject), createdAt };
  await noteErasure(store.db, pipeline, erasure, subject);
  return erase(erasure, parts, options);
}

/** Completes what a crashed process left. */
export async function resumeErasures(parts: ErasureParts, options: CallOptions): Promise<ErasureReport[]> {
  const left = await parts.store.db
    .selectFrom("erasures")
    .select(["id", "subject_id", "tenant", "subject_hash", "created_at"])
    .where("pipeline", "=", parts.pipeline)
    .where("completed_at", "is", null)
    .where("subject_id", "is not", null)
    .where("created_at", "<=", new Date(parts.clock() - ABANDONED_MS))
    .execute();
  const reports: ErasureReport[] = [];
  for (const row of left) {
    const erasure = {
      id: row.id,
      subject: { subjectId: row.subject_id as string, tenant: row.tenant },
      subjectHash: row.subject_hash,
      createdAt: row.created_at.toISOString(),
    };
    reports.push(await erase(erasure, parts, options));
  }
  return reports;
}

/** Each step finds what is left to do, so that all of it may be done again. */
async function erase({ subject, ...record }: Erasure, parts: ErasureParts, options: CallOptions): Promise<ErasureReport> {
  const { pipeline, store } = parts;
  const { texts, cancelledCycles } = await store.db.transaction().execute(async (transaction) => {
    const texts = await eraseTexts(transaction, pipeline, subject, new Date(record.createdAt));
    await notifyOthers(transaction, "memory", "changed");
    const cancelledCycles = await cancelCycles(transaction, pipeline, texts.sampleIds);
    return { texts, cancelledCycles };
  });
  store.notifications.announce("memory", null);
  await store.journal?.append({ kind: "erasure", id: record.id, payload: { ...record, pipeline } });
  await parts.log?.append({ ...record, pipeline });
  const { subjectId, tenant } = subject;
  await parts.datasets.eraseSubject?.(subjectId, { ...options, ...(tenant === null ? {} : { feedbackIds: texts.feedbackIds }) });
  const generations = (await parts.generations?.eraseSubject?.(subjectId, { ...options, tenant: tenant ?? undefined })) ?? 0;
  const report: ErasureReport = {
    id: record.id,
    feedback: texts.feedback,
    samples: texts.sampleIds.length,
    generations,
    cancelledCycles,
    adapters: await retireAdapters(texts.sampleIds, parts, options),
    erasedAt: record.createdAt,
  };
  // until then the acknowledged texts stand in the journal
  await store.journal?.checkpoint();
  await store.db
    .updateTable("erasures")
    .set({ report: storableJson(report), subject_id: null, tenant: null, completed_at: new Date(parts.clock()) })
    .where("id", "=", record.id)
    .execute();
  return report;
}

/** Tells open cycles that hold one of the samples, or go on from weights that do, to end; their drivers see it at their next step. */
async function cancelCycles(transaction: Executor, pipeline: string, sampleIds: readonly string[]): Promise<string[]> {
  const running = (await concernedCycles(transaction, pipeline, sampleIds)).filter(({ isRunning }) => isRunning);
  if (running.length === 0) return [];
  const reason = storableJson({ cancelReason: "a person whose samples it learns from was erased" });
  const { rows } = await sql<{ id: string }>`
    update clara.cycles c set state = c.state || ${reason}::jsonb
    where c.ended_at is null and c.id = any(${running.map(({ cycleId }) => cycleId)}::text[]) returning c.id`.execute(transaction);
  return rows.map((row) => row.id);
}

async function retireAdapters(sampleIds: readonly string[], parts: ErasureParts, options: CallOptions): Promise<ErasureReport["adapters"]> {
  const cycles = await concernedCycles(parts.store.db, parts.pipeline, sampleIds);
  if (cycles.length === 0) return [];
  await parts.training.eraseTexts?.(
    cycles.flatMap(({ jobId }) => jobId ?? []),
    options,
  );
  // one that was only tested on their questions holds nothing of them
  const learnt = cycles.flatMap(({ adapterId, domain, cycleId, isLearnt }) =>
    adapterId !== null && isLearnt ? [{ adapterId, domain, cycleId }] : [],
  );
  const descendants = await descendantsOf(
    parts.store.db,
    learnt.map(({ adapterId }) => adapterId),
  );
  const adapters: ErasureReport["adapters"] = [];
  for (const { adapterId, domain, cycleId } of [
    ...learnt,
    ...descendants.map(({ id, domain }) => ({ adapterId: id, domain, cycleId: null })),
  ]) {
    const action = await retireAdapter(adapterId, parts, options);
    adapters.push({ adapterId, domain, action });
    if (action === "retired") {
      const reasons = [{ criterion: "erasure", verdict: "fail" as const, message: "it learnt from a person who was erased" }];
      parts.events.emit("adapter.rolledback", { adapterId, domain, cycleId, reasons });
    }
  }
  await parts.store.db.transaction().execute(async (transaction) => {
    for (const { cycleId } of cycles) await giveBackLearnt(transaction, { cycleId, now: new Date(parts.clock()).toISOString() });
    await notifyOthers(transaction, "memory", "changed");
  });
  parts.store.notifications.announce("memory", null);
  return adapters;
}

/** No adapter of a manifest with the person may come back, so one that serves is taken out and then rejected for good. */
async function retireAdapter(
  adapterId: string,
  { router, serving }: ErasureParts,
  options: CallOptions,
): Promise<ErasureReport["adapters"][number]["action"]> {
  try {
    const adapter = await router.getAdapter(adapterId, options);
    const reason = "it learnt from a person who was erased";
    if (adapter.status === "rejected") return "already retired";
    if (router.withdrawAdapter !== undefined) await router.withdrawAdapter(adapterId, reason, options);
    else {
      if (adapter.status === "active") await router.deactivateAdapter(adapterId, options);
      await router.rejectAdapter(adapterId, reason, options);
    }
    await serving.unloadAdapter(adapterId, options).catch(() => {}); // an engine that is away holds nothing, or drops it when it is asked again
    return "retired";
  } catch (error) {
    if (ClaraError.isInstance(error) && error.code === "adapter_not_found") return "not registered";
    throw error;
  }
}
