import { ClaraError, TrainingError } from "../errors.js";
import type { EvaluateResult, TrainResult } from "../types/runtime-protocol.js";

/** Why a worker ended a run that had not ended by itself. */
export type StopReason = "cancel" | "pause" | "timeout" | "shutdown" | "lost";

/** How one run of a job ended. */
export type RunEnd =
  | { kind: "result"; result: TrainResult | EvaluateResult }
  | { kind: "stopped"; reason: StopReason }
  /** The runtime has an adapter of this name from another job (its folder is older than this database, or shared with another). */
  | { kind: "name_taken"; freeVersion: number }
  | { kind: "error"; error: unknown };

/** What the job becomes. */
export type NextStep =
  | { kind: "complete"; result: TrainResult | EvaluateResult }
  | { kind: "fail"; error: ClaraError }
  | { kind: "cancel" }
  | { kind: "pause" }
  /** Back into the queue: after a failure, because no runtime answers, or because its worker stops. */
  | { kind: "requeue"; cause: "failure" | "waiting" | "shutdown"; delaySeconds: number; note: string }
  /** Back into the queue with at least this version. */
  | { kind: "rename"; version: number }
  /** Another worker has it: leave everything as it is. */
  | { kind: "leave" };

export interface Counters {
  failures: number;
  waits: number;
  request: "cancel" | "pause" | null;
}

const LONGEST_WAIT_SECONDS = 30;
const RETRY_DELAY_SECONDS = 2;

/** Decides from how the run ended and from what was asked meanwhile; every end leads out of `running`. */
export function nextStep(
  end: RunEnd,
  counters: Counters,
  limits: { maxRetries: number; jobTimeoutMinutes: number },
  jobId: string,
): NextStep {
  if (end.kind === "result") return { kind: "complete", result: end.result };
  if (end.kind === "stopped" && end.reason === "lost") return { kind: "leave" };
  if (counters.request === "cancel" || (end.kind === "stopped" && end.reason === "cancel")) return { kind: "cancel" };
  if (counters.request === "pause" || (end.kind === "stopped" && end.reason === "pause")) return { kind: "pause" };
  if (end.kind === "stopped") {
    if (end.reason === "shutdown") return { kind: "requeue", cause: "shutdown", delaySeconds: 0, note: "its worker stopped" };
    return {
      kind: "fail",
      error: new TrainingError(
        "training_timeout",
        `Job ${jobId} took longer than ${limits.jobTimeoutMinutes} minutes. Raise jobTimeoutMinutes, or give it less data or fewer epochs.`,
        { details: { jobId } },
      ),
    };
  }
  if (end.kind === "name_taken") return { kind: "rename", version: end.freeVersion };
  const error = claraError(end.error, jobId);
  if (error.code === "runtime_unavailable" || error.code === "store_unavailable") {
    const delaySeconds = Math.min(LONGEST_WAIT_SECONDS, 2 ** Math.min(counters.waits, 5));
    return { kind: "requeue", cause: "waiting", delaySeconds, note: error.message };
  }
  // Nobody asked for it here: the runtime itself was stopped.
  const mayPass = error.isRetryable || error.code === "training_cancelled";
  if (mayPass && counters.failures < limits.maxRetries) {
    return { kind: "requeue", cause: "failure", delaySeconds: RETRY_DELAY_SECONDS * 2 ** counters.failures, note: error.message };
  }
  return { kind: "fail", error };
}

function claraError(error: unknown, jobId: string): ClaraError {
  if (ClaraError.isInstance(error)) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new TrainingError("training_failed", `Job ${jobId} failed: ${text}`, { cause: error, details: { jobId } });
}
