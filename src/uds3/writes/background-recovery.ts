import pRetry from "p-retry";
import { ClaraError, ConfigurationError } from "../../errors.js";
import type { Logger } from "../../types/index.js";
import type { Uds3 } from "../uds3.js";

/** Milliseconds from the first failure to the next try; doubled with each, times 1 to 2 by chance so that processes do not keep step, up to the second figure. */
const RETRY_AFTER_MS = 1_000;
const RETRY_AT_LATEST_AFTER_MS = 60_000;

/**
 * Finishes what was left half written, beside everything else, and tries again for as long as a database cannot be reached; each failure is told to `logger`. What a
 * database refuses is not tried again: it needs somebody to correct it. Gives what ends it; that never fails.
 */
export function recoverInBackground(uds3: Pick<Uds3, "recover">, logger: Logger | undefined): () => Promise<void> {
  const ending = new AbortController();
  const { signal } = ending;
  const recovering = pRetry(() => uds3.recover({ signal }), {
    retries: Number.POSITIVE_INFINITY,
    minTimeout: RETRY_AFTER_MS,
    maxTimeout: RETRY_AT_LATEST_AFTER_MS,
    randomize: true,
    // A process that has nothing else to do may end: what is noted stays noted.
    unref: true,
    signal,
    shouldRetry: ({ error }) => !(error instanceof ConfigurationError),
    onFailedAttempt: ({ error, retryDelay }) => {
      if (signal.aborted || error instanceof ConfigurationError) return;
      logger?.warn(
        { ...fieldsOf(error), retryInMs: Math.round(retryDelay) },
        "documents that were left half written wait for a database; they are tried again",
      );
    },
  }).then(
    ({ finished }) => {
      if (finished > 0) logger?.info({ finished }, "documents that were left half written are in all three databases now");
    },
    (error: unknown) => {
      if (signal.aborted) return;
      logger?.warn(fieldsOf(error), "documents that were left half written wait: correct what is named, then call clara.uds3.recover()");
    },
  );
  return async () => {
    ending.abort();
    await recovering;
  };
}

function fieldsOf(error: unknown): Record<string, unknown> {
  const { code, details } = ClaraError.isInstance(error) ? error : { code: undefined, details: undefined };
  return { error: String(error), code, ...details };
}
