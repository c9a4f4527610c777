import type { Executor } from "../store/store.js";
import type { JobEvent, JobStatus } from "../types/job.js";

type WithoutStamp<Event> = Event extends unknown ? Omit<Event, "jobId" | "sequence" | "timestamp"> : never;

/** An event before it has its number. */
export type NewJobEvent = WithoutStamp<JobEvent>;

/** Numbers the events after `lastSequence` and writes them down; the caller has raised `last_sequence` in the same transaction. */
export async function appendEvents(executor: Executor, jobId: string, lastSequence: number, events: readonly NewJobEvent[]): Promise<void> {
  if (events.length === 0) return;
  const timestamp = new Date().toISOString();
  const rows = events.map((event, index) => {
    const sequence = lastSequence - events.length + 1 + index;
    return { job_id: jobId, sequence, event: JSON.stringify({ ...event, jobId, sequence, timestamp }) };
  });
  await executor.insertInto("training_job_events").values(rows).execute();
}

/** The events after `after`, oldest first, at most `limit`. */
export async function readEvents(executor: Executor, jobId: string, after: number, limit = 500): Promise<JobEvent[]> {
  const rows = await executor
    .selectFrom("training_job_events")
    .select("event")
    .where("job_id", "=", jobId)
    .where("sequence", ">", after)
    .orderBy("sequence")
    .limit(limit)
    .execute();
  return rows.map((row) => row.event as JobEvent);
}

/** The `job_update` that a status change writes. */
export function statusEvent(row: {
  status: JobStatus;
  phase: string | null;
  progress_percent: number;
  current_epoch: number;
  total_epochs: number;
  eta_seconds: number | null;
  error: { code: string; message: string } | null;
}): NewJobEvent {
  return {
    type: "job_update",
    status: row.status,
    phase: row.phase,
    progressPercent: row.progress_percent,
    currentEpoch: row.current_epoch,
    totalEpochs: row.total_epochs,
    etaSeconds: row.eta_seconds,
    error: row.error,
  };
}
