import type { ClaraError } from "../../errors.js";
import type { EngineComplaint } from "./engine-complaint.js";

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

  /** What the engine itself said, where it answered at all. */
  readonly complaint: EngineComplaint | undefined;

  constructor(error: ClaraError, options: AttemptError["options"], complaint?: EngineComplaint) {
    super(error.message, { cause: error });
    this.error = error;
    this.options = options;
    this.complaint = complaint;
  }
}
