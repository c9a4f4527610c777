import type { ClaraError } from "../../errors.js";

/** Why an attempt failed, and what may be done about it; never leaves the client. */
export class AttemptError extends Error {
  readonly error: ClaraError;
  readonly options: {
    /** Another endpoint may answer. */
    failover: boolean;
    /** The same endpoint may answer later. */
    retry: boolean;
    retryAfterMs?: number;
  };

  constructor(
    error: ClaraError,
    options: {
      /** Another endpoint may answer. */
      failover: boolean;
      /** The same endpoint may answer later. */
      retry: boolean;
      retryAfterMs?: number;
    },
  ) {
    super(error.message, { cause: error });
    this.error = error;
    this.options = options;
  }
}
