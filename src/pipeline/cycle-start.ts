import { randomUUID } from "node:crypto";
import { ValidationError } from "../errors.js";
import type { Executor } from "../store/store.js";
import type { LearningCycle } from "../types/cycle.js";
import { allowBatch, chooseBatch } from "./batch-rules.js";
import type { CycleStore } from "./cycle-store.js";
import type { ResolvedPipelineOptions } from "./pipeline-options.js";
import { claimSamples } from "./sample-ledger.js";
import { startObstacle } from "./triggers.js";

/** Samples looked at for one batch: the buffer's worth, and what failed cycles gave back on top. */
const LOOK_AHEAD = 4;

/**
 * The stage `collect`: cycle, claim and manifest appear in one transaction, or nothing does.
 * @throws ConflictError `cycle_running`; ValidationError `dataset_too_small` with the counts
 */
export async function collect(
  transaction: Executor,
  request: { domain: string; trigger: LearningCycle["trigger"] },
  cycles: CycleStore,
  options: ResolvedPipelineOptions,
): Promise<string> {
  const id = randomUUID();
  const next = options.augmentWithSearch ? "augment" : "prepare";
  await cycles.insert(transaction, { id, ...request, stage: next });
  await cycles.beginStage(transaction, id, "collect");
  const waiting = await transaction
    .selectFrom("samples")
    .select(["id", "subject_id"])
    .where("pipeline", "=", options.name)
    .where("domain", "=", request.domain)
    .where("state", "=", "waiting")
    .where("objective", "=", "imitate")
    .orderBy("created_at")
    .orderBy("id")
    .limit(options.bufferCapacity * LOOK_AHEAD)
    .forUpdate()
    .skipLocked()
    .execute();
  const bySubject = new Map<string, number>();
  for (const { subject_id } of waiting) bySubject.set(subject_id ?? "", (bySubject.get(subject_id ?? "") ?? 0) + 1);
  const allowance = allowBatch(bySubject, options.triggers, options.bufferCapacity);
  const obstacle = startObstacle(allowance, options.triggers);
  if (obstacle !== null) {
    throw new ValidationError("dataset_too_small", `No cycle of the domain "${request.domain}" can start: ${obstacle}.`, {
      details: {
        domain: request.domain,
        waiting: allowance.waiting,
        eligible: allowance.eligible,
        distinctSubjects: allowance.distinctSubjects,
        minSamples: options.triggers.minSamples,
        minDistinctSubjects: options.triggers.minDistinctSubjects,
      },
    });
  }
  const batch = chooseBatch(waiting, allowance, options.triggers);
  await claimSamples(transaction, { pipeline: options.name, cycleId: id, sampleIds: batch.map((sample) => sample.id), now: cycles.now() });
  await cycles.update(transaction, id, { samples: batch.length });
  const { distinctSubjects, perSubject } = allowance;
  await cycles.endStage(transaction, id, "collect", { samples: batch.length, waiting: allowance.waiting, distinctSubjects, perSubject });
  return id;
}
