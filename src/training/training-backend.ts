import type { CallOptions } from "../types/common.js";
import type { EvaluateResult, RuntimeCapabilities, RuntimeEvent, RuntimeSpec, TrainResult } from "../types/runtime-protocol.js";

/** One file that a spec names, relative to the runtime's root folder. */
export interface TrainingFile {
  path: string;
  /** Text in pieces of any size; read once per run. */
  content: AsyncIterable<string>;
}

export interface BackendRunOptions {
  /** Each event of the runtime, in order, none twice. */
  onEvent: (event: RuntimeEvent) => void;
  /**
   * Ends the run: the trainer is told to stop and keeps its checkpoints. With `DETACH` as the reason a job that lives
   * outside this process goes on, and a later `run` of the same job id finds it again.
   */
  signal: AbortSignal;
  /** Sequence of the last event that an earlier run of the same job handed on; those are not repeated. Default 0. */
  resumeAfter?: number;
}

/** Abort reason of `BackendRunOptions.signal`: let go of the job without stopping it, where that is possible. */
export const DETACH: unique symbol = Symbol.for("clara-sdk.detach");

/** Where jobs run. Running a job id again resumes it: from the job that still runs, or from its last checkpoint. */
export interface TrainingBackend {
  /** For messages, for example `runtime` or `local process`. */
  readonly name: string;
  /**
   * Runs one spec to its end. Rejects with `RuntimeUnavailableError` where nothing could be reached (the job may still
   * run), with `TrainingError` where the job failed, and with `AbortedError` after an abort.
   * @example
   * ```ts
   * const result = await backend.run(spec, [], { signal, onEvent: ({ type }) => console.log(type) });
   * ```
   */
  run(spec: RuntimeSpec, files: readonly TrainingFile[], options: BackendRunOptions): Promise<TrainResult | EvaluateResult>;
  /**
   * True where `name@vN` is taken in the place where adapters are written, by whatever job.
   * @example
   * ```ts
   * const isTaken = await backend.hasAdapter?.("building@v2");
   * ```
   */
  hasAdapter?(name: string, options?: CallOptions): Promise<boolean>;
  /**
   * Ends a job that an earlier process let go of; resolves also where there is none. Absent where no job outlives its process.
   * @example
   * ```ts
   * await backend.cancel?.(id);
   * ```
   */
  cancel?(jobId: string): Promise<void>;
  /**
   * What the place can do: device, memory, trainers.
   * @example
   * ```ts
   * const { trainers } = await backend.capabilities();
   * ```
   */
  capabilities(options?: CallOptions): Promise<RuntimeCapabilities>;
}
