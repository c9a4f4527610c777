import { ConflictError } from "../errors.js";
import type { JobStatus, TrainingJob } from "../types/job.js";
import { throwIfAborted } from "./abort.js";
import { findJob } from "./job-list.js";
import { notifyOfJob } from "./job-notifier.js";
import { changeJob, FRESH_RUN, lockJob } from "./job-records.js";
import { isTerminal } from "./job-state.js";
import { endLeftover, type RunContext } from "./run-job.js";
import { jobNotFound } from "./watch-job.js";

/** How long a cancel or a pause waits for the worker to obey before it answers all the same. */
const OBEY_LIMIT_MS = 10_000;
/** Between two looks at whether the worker still lives. */
const LOOK_AGAIN_MS = 3000;
const POLL_MS = 200;

/**
 * Ends or pauses a job: at once where nobody works on it, else by asking its worker.
 * @returns the job as it is when it obeyed, or after ten seconds
 */
export async function endJob(context: RunContext, id: string, request: "cancel" | "pause", signal: AbortSignal): Promise<TrainingJob> {
  throwIfAborted(signal, `${request}Job`);
  const { queue, notifier, options } = context;
  const { db } = options.store;
  await queue.start();
  const deadline = Date.now() + OBEY_LIMIT_MS;
  for (;;) {
    const outcome = await askOrEnd(context, id, request);
    notifier.notify(id);
    if (outcome.hasLeftover) await endLeftover(context, id);
    if (outcome.isDone) return findJob(db, id);
    const hasEnded = await leavesRunning(context, id, Math.min(LOOK_AGAIN_MS, deadline - Date.now()), signal);
    if (hasEnded || Date.now() >= deadline) return findJob(db, id);
  }
}

/** Puts an ended or paused job back into the queue. */
export async function requeueJob(
  context: RunContext,
  id: string,
  request: { from: readonly JobStatus[]; verb: "resume" | "retry" },
  signal: AbortSignal,
): Promise<TrainingJob> {
  throwIfAborted(signal, `${request.verb}Job`);
  const { queue, notifier, options } = context;
  await queue.start();
  await options.store.db.transaction().execute(async (transaction) => {
    const row = await lockJob(transaction, id);
    if (row === undefined || row.kind !== "train") throw jobNotFound(id);
    if (!request.from.includes(row.status)) throw stateConflict(id, row.status, request.verb);
    const messageId = await queue.send(transaction, row);
    await changeJob(transaction, { id, from: request.from }, { ...FRESH_RUN, status: "queued", message_id: messageId });
  });
  notifier.notify(id);
  return findJob(options.store.db, id);
}

interface Outcome {
  isDone: boolean;
  /** A runtime may still be at it, without a worker that could tell it to stop. */
  hasLeftover: boolean;
}

async function askOrEnd(context: RunContext, id: string, request: "cancel" | "pause"): Promise<Outcome> {
  const { queue, options } = context;
  const target = request === "cancel" ? "cancelled" : "paused";
  return options.store.db.transaction().execute(async (transaction) => {
    const row = await lockJob(transaction, id);
    if (row === undefined) throw jobNotFound(id);
    if (row.status === target) return { isDone: true, hasLeftover: false };
    if (isTerminal(row.status)) throw stateConflict(id, row.status, request);
    const isHeld = row.status === "running" && row.message_id !== null && (await queue.isHeld(transaction, row.message_id));
    if (isHeld) {
      // a cancel is not taken back by a pause that comes after it
      if (row.request !== request && row.request !== "cancel") {
        await transaction.updateTable("training_jobs").set({ request }).where("id", "=", id).execute();
        await notifyOfJob(transaction, id);
      }
      return { isDone: false, hasLeftover: false };
    }
    if (row.message_id !== null) await queue.withdraw(transaction, row.message_id);
    const released = { request: null, message_id: null, claim_token: null, claimed_by: null };
    const completed_at = request === "cancel" ? new Date() : null;
    await changeJob(transaction, { id, from: [row.status] }, { ...released, status: target, completed_at });
    return { isDone: true, hasLeftover: row.attempt > 0 };
  });
}

/** True when the job is not running any more within the time. */
async function leavesRunning(context: RunContext, id: string, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const { notifier, options } = context;
  const deadline = Date.now() + timeoutMs;
  const unsubscribe = notifier.subscribe(() => {});
  try {
    while (Date.now() < deadline) {
      throwIfAborted(signal, "Waiting for the job to stop");
      if ((await findJob(options.store.db, id)).status !== "running") return true;
      await notifier.wait(id, Math.min(POLL_MS, Math.max(0, deadline - Date.now())), signal);
    }
    return false;
  } finally {
    unsubscribe();
  }
}

function stateConflict(id: string, status: JobStatus, verb: string): ConflictError {
  return new ConflictError("job_state_conflict", `You cannot ${verb} job ${id}: it is ${status}.`, { details: { id, status } });
}
