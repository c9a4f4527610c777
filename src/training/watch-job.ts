import { AbortedError, NotFoundError } from "../errors.js";
import type { Store } from "../store/store.js";
import type { JobEvent } from "../types/job.js";
import { readEvents } from "./job-events.js";
import type { JobNotifier } from "./job-notifier.js";
import { isTerminal } from "./job-state.js";

const POLL_MS = 250;
const LISTENING_POLL_MS = 2000;
const PAGE = 500;

/** Every event of the job after `after`, in order, none twice, to the one that ended it. */
export async function* watchJob(
  store: Store,
  notifier: JobNotifier,
  jobId: string,
  options: { after?: number; signal?: AbortSignal } = {},
): AsyncGenerator<JobEvent, void, undefined> {
  let after = options.after ?? 0;
  let hasChanged = false;
  let wake = () => {};
  const unsubscribe = notifier.subscribe((changed) => {
    if (changed !== null && changed !== jobId) return;
    hasChanged = true;
    wake();
  });
  try {
    for (;;) {
      if (options.signal?.aborted) throw new AbortedError(`Watching job ${jobId} was aborted.`, { cause: options.signal.reason });
      hasChanged = false;
      // read before the events: an end that is seen here has all its events below
      const row = await store.db.selectFrom("training_jobs").select(["status", "last_sequence"]).where("id", "=", jobId).executeTakeFirst();
      if (row === undefined) throw jobNotFound(jobId);
      while (after < row.last_sequence) {
        const events = await readEvents(store.db, jobId, after, PAGE);
        // only deleted events are missing: numbers and events are committed together
        if (events.length === 0) after = row.last_sequence;
        for (const event of events) {
          after = event.sequence;
          yield event;
        }
      }
      if (isTerminal(row.status) && after >= row.last_sequence) return;
      if (hasChanged) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, notifier.isListening ? LISTENING_POLL_MS : POLL_MS);
        function done() {
          clearTimeout(timer);
          options.signal?.removeEventListener("abort", done);
          resolve();
        }
        wake = done;
        options.signal?.addEventListener("abort", done, { once: true });
        if (options.signal?.aborted) done();
      });
    }
  } finally {
    unsubscribe();
  }
}

/** The error for an unknown job id. */
export function jobNotFound(jobId: string): NotFoundError {
  return new NotFoundError("job_not_found", `There is no training job ${jobId}. List the jobs to see their ids.`, {
    details: { id: jobId },
  });
}
