import type { JobStatus } from "../types/job.js";

/** From each status, the ones that may follow. */
export const TRANSITIONS = {
  pending: ["queued", "cancelled"],
  queued: ["running", "paused", "cancelled", "failed"],
  running: ["completed", "failed", "cancelled", "paused", "queued"],
  paused: ["queued", "cancelled"],
  completed: [],
  failed: ["queued"],
  cancelled: ["queued"],
} as const satisfies Record<JobStatus, readonly JobStatus[]>;

/** True where a job may go from one status to the other. */
export function canFollow(from: JobStatus, to: JobStatus): boolean {
  return (TRANSITIONS[from] as readonly JobStatus[]).includes(to);
}

/** True where only a person's `retryJob` changes the job again. */
export function isTerminal(status: JobStatus): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}
