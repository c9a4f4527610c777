/**
 * Every error that CLARA throws, one tree:
 *
 *   ClaraError                      code, isRetryable, details, cause
 *   ├── ConfigurationError          the options or the environment are wrong; fix and start again
 *   ├── ValidationError             one call's input is wrong; nothing was changed
 *   ├── NotFoundError               no such dataset, job, adapter, …; `details.id`
 *   ├── ConflictError               the state forbids it now (job finished, cycle running, version exists)
 *   ├── StorageError                database, journal, lock, disk
 *   ├── RuntimeUnavailableError     the GPU runtime or an engine cannot be reached; says what to start
 *   ├── EngineError                 the serving engine answered with an error
 *   ├── TrainingError               a training or evaluation job failed; `details.runtimeCode`
 *   ├── OverloadedError             back-pressure: try again after `retryAfterMs`
 *   └── AbortedError                the caller's signal, or close()
 */
export type ClaraErrorCode =
  | "config_invalid"
  | "python_missing"
  | "python_too_old"
  | "runtime_install_failed"
  | "runtime_not_installed"
  | "input_invalid"
  | "feedback_invalid"
  | "payload_too_large"
  | "dataset_empty"
  | "dataset_too_small"
  | "dataset_not_found"
  | "dataset_deleted"
  | "job_not_found"
  | "adapter_not_found"
  | "canary_not_found"
  | "generation_not_found"
  | "cycle_not_found"
  | "decision_not_found"
  | "feedback_not_found"
  | "job_state_conflict"
  | "cycle_running"
  | "adapter_state_conflict"
  | "dataset_in_use"
  | "store_locked"
  | "store_unavailable"
  | "store_closed"
  | "migration_failed"
  | "journal_corrupt"
  | "disk_full"
  | "capability_missing"
  | "runtime_unavailable"
  | "runtime_protocol_mismatch"
  | "engine_unavailable"
  | "engine_response_invalid"
  | "engine_error"
  | "engine_mismatch"
  | "adapter_unproven"
  | "model_not_found"
  | "request_timeout"
  | "training_failed"
  | "training_timeout"
  | "training_cancelled"
  | "base_model_invalid"
  | "adapter_invalid"
  | "out_of_memory"
  | "path_outside_root"
  | "evaluation_failed"
  | "overloaded"
  | "buffer_full"
  | "rate_limited"
  | "aborted"
  | "internal";

/** What a `ClaraError` carries besides its message. */
export interface ClaraErrorOptions {
  /** Default: the class's own. */
  isRetryable?: boolean;
  /** Ids and values a program may need; never secrets or users' texts. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

const brand = Symbol.for("clara-sdk.ClaraError");

/** The root of every error that CLARA throws; switch on `code`. */
export class ClaraError extends Error {
  readonly code: ClaraErrorCode;
  /** True where the same call may succeed later without a change. */
  readonly isRetryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ClaraErrorCode, message: string, options: ClaraErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.isRetryable = options.isRetryable ?? false;
    this.details = options.details ?? {};
    Object.defineProperty(this, brand, { value: true });
  }

  /**
   * True for a `ClaraError` of any copy of this package (an `instanceof` fails across duplicate installs).
   * @example
   * ```ts
   * try { await clara.training.getJob("no-such-job"); }
   * catch (error) { if (ClaraError.isInstance(error) && error.code === "job_not_found") console.log("gone"); }
   * ```
   */
  static isInstance(error: unknown): error is ClaraError {
    return typeof error === "object" && error !== null && (error as Record<symbol, unknown>)[brand] === true;
  }

  /**
   * The shape that logs and HTTP answers use.
   * @example
   * ```ts
   * const logError = (error: ClaraError) => console.error(JSON.stringify(error));
   * ```
   */
  toJSON(): { name: string; code: ClaraErrorCode; message: string; isRetryable: boolean; details: Readonly<Record<string, unknown>> } {
    return { name: this.name, code: this.code, message: this.message, isRetryable: this.isRetryable, details: this.details };
  }
}

/** The options or the environment are wrong. */
export class ConfigurationError extends ClaraError {}
/** One call's input is wrong; nothing was changed. */
export class ValidationError extends ClaraError {}
/** The named thing does not exist; `details.id`. */
export class NotFoundError extends ClaraError {}
/** The present state forbids the call. */
export class ConflictError extends ClaraError {}
/** Database, journal, lock or disk. */
export class StorageError extends ClaraError {}
/** The runtime or an engine cannot be reached; retryable unless said otherwise. */
export class RuntimeUnavailableError extends ClaraError {
  constructor(code: ClaraErrorCode, message: string, options: ClaraErrorOptions = {}) {
    super(code, message, { isRetryable: true, ...options });
  }
}
/** The serving engine answered with an error; `details.status`, `details.endpoint`. */
export class EngineError extends ClaraError {}
/** A training or evaluation job failed. */
export class TrainingError extends ClaraError {}
/** Back-pressure; `retryAfterMs` says when to try again. */
export class OverloadedError extends ClaraError {
  readonly retryAfterMs: number;
  constructor(code: ClaraErrorCode, message: string, retryAfterMs: number, options: ClaraErrorOptions = {}) {
    super(code, message, { isRetryable: true, ...options, details: { retryAfterMs, ...options.details } });
    this.retryAfterMs = retryAfterMs;
  }
}
/** The caller's signal, or `close()`. */
export class AbortedError extends ClaraError {
  constructor(message = "The call was aborted.", options: ClaraErrorOptions = {}) {
    super("aborted", message, options);
  }
}
