import type { Selectable } from "kysely";
import type { CycleStageTable, CycleTable } from "../store/tables/cycle.js";
import type { CycleStage, GateReason, LearningCycle } from "../types/cycle.js";
import type { SetEvidence } from "./gate/evidence.js";
import type { Probe, Suspects } from "./probes/probe.js";

/** A row of `cycles`. */
export type CycleRow = Selectable<CycleTable>;

/** What the stages of a cycle hand on to each other; grows by merging. */
export interface CycleState {
  /** Search results that were added to the batch. */
  retrieved?: { id: string; prompt: string; response: string }[];
  /** What served the domain when the job was made; the job was evaluated against it. */
  baseline?: { adapterId: string | null; path: string | null };
  /** The adapter whose weights the job goes on from; absent: it trains a fresh one. */
  warmStartedFrom?: string;
  /** Earlier samples that the job replays. */
  replayed?: number;
  /** What served the domain when it was evaluated. */
  evaluatedAgainst?: string | null;
  evidence?: SetEvidence[];
  /** What the candidate is probed with, beside the sets. */
  probes?: Probe[];
  /** What the probes say, and the samples that they point at. */
  probeReasons?: GateReason[];
  suspects?: Suspects[];
  /** True while the candidate is loaded for evaluators. */
  loadedForEvaluators?: boolean;
  /** Why the candidate cannot serve, found at activation. */
  failure?: { code: string; message: string };
  /** Set from outside: the cycle ends at its next step. */
  cancelReason?: string;
}

/** The state of a cycle's row. */
export function stateOf(row: Pick<CycleRow, "state">): CycleState {
  return row.state as CycleState;
}

/** The public form of a cycle. */
export function toLearningCycle(row: CycleRow, stages: readonly Selectable<CycleStageTable>[]): LearningCycle {
  return {
    id: row.id,
    pipeline: row.pipeline,
    domain: row.domain,
    trigger: row.trigger as LearningCycle["trigger"],
    status: row.status as LearningCycle["status"],
    stages: stages.map((stage) => ({
      name: stage.name as CycleStage["name"],
      startedAt: stage.started_at.toISOString(),
      endedAt: stage.ended_at?.toISOString() ?? null,
      detail: stage.detail as CycleStage["detail"],
    })),
    samples: row.samples,
    datasetId: row.dataset_id,
    jobId: row.job_id,
    adapterId: row.adapter_id,
    evaluation: row.evaluation as LearningCycle["evaluation"],
    gate: row.gate as LearningCycle["gate"],
    error: row.error as LearningCycle["error"],
    createdAt: row.created_at.toISOString(),
    endedAt: row.ended_at?.toISOString() ?? null,
  };
}
