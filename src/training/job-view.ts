import type { Selectable } from "kysely";
import type { TrainingJobRow } from "../store/tables/training.js";
import type { TrainingJob } from "../types/job.js";

/** The columns of a job that people see; `input` may be large and stays behind. */
export const VIEW_COLUMNS = [
  "id",
  "dataset_id",
  "config_name",
  "trainer",
  "adapter_name",
  "priority",
  "status",
  "progress_percent",
  "phase",
  "current_epoch",
  "total_epochs",
  "step",
  "total_steps",
  "eta_seconds",
  "metrics",
  "attempt",
  "adapter_path",
  "result",
  "evaluation",
  "error",
  "created_by",
  "created_at",
  "started_at",
  "completed_at",
] as const satisfies readonly (keyof TrainingJobRow)[];

type ViewRow = Pick<Selectable<TrainingJobRow>, (typeof VIEW_COLUMNS)[number]>;

/** The job as people see it. */
export function jobView(row: ViewRow): TrainingJob {
  return {
    id: row.id,
    datasetId: row.dataset_id ?? "",
    configName: row.config_name,
    trainer: row.trainer,
    adapterName: row.adapter_name,
    priority: row.priority,
    status: row.status,
    progressPercent: row.progress_percent,
    phase: row.phase,
    currentEpoch: row.current_epoch,
    totalEpochs: row.total_epochs,
    step: row.step,
    totalSteps: row.total_steps,
    etaSeconds: row.eta_seconds,
    metrics: row.metrics,
    attempt: row.attempt,
    adapterPath: row.adapter_path,
    result: row.result as TrainingJob["result"],
    evaluation: row.evaluation,
    error: row.error,
    createdBy: row.created_by,
    createdAt: row.created_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    completedAt: row.completed_at?.toISOString() ?? null,
  };
}
