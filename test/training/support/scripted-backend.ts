import { TrainingError } from "../../../src/errors.js";
import { type BackendRunOptions, DETACH, type TrainingBackend, type TrainingFile } from "../../../src/training/training-backend.js";
import type { EvaluateResult, RuntimeCapabilities, RuntimeEvent, RuntimeSpec, TrainResult } from "../../../src/types/runtime-protocol.js";

type WithoutStamp<Event> = Event extends unknown ? Omit<Event, "seq" | "time"> : never;

/** One run of a job, in the test's hands. */
export interface ScriptedRun {
  spec: RuntimeSpec;
  files: Map<string, string>;
  resumeAfter: number;
  /** True once the client told it to stop; `DETACH` lets a job outside this process go on. */
  readonly stopReason: unknown;
  emit(event: WithoutStamp<RuntimeEvent>): void;
  complete(): void;
  fail(error: unknown): void;
}

/** A back end whose runs do what the test says, for what a trainer cannot be brought to do on demand. It trains nothing. */
export class ScriptedBackend implements TrainingBackend {
  readonly name = "scripted";
  readonly runs: ScriptedRun[] = [];
  active = 0;
  mostActive = 0;
  /** Called with each run as it begins. */
  onRun: (run: ScriptedRun) => void = () => {};
  #waiting: ((run: ScriptedRun) => void)[] = [];
  #taken = 0;

  /** The next run that nobody took yet; waits for one to begin. */
  nextRun(): Promise<ScriptedRun> {
    const run = this.runs[this.#taken];
    this.#taken += 1;
    if (run !== undefined) return Promise.resolve(run);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async run(spec: RuntimeSpec, files: readonly TrainingFile[], options: BackendRunOptions): Promise<TrainResult | EvaluateResult> {
    const texts = new Map<string, string>();
    for (const file of files) {
      let text = "";
      for await (const part of file.content) text += part;
      texts.set(file.path, text);
    }
    this.active += 1;
    this.mostActive = Math.max(this.mostActive, this.active);
    let seq = options.resumeAfter ?? 0;
    try {
      return await new Promise((resolve, reject) => {
        const run: ScriptedRun = {
          spec,
          files: texts,
          resumeAfter: options.resumeAfter ?? 0,
          get stopReason() {
            return options.signal.aborted ? (options.signal.reason === DETACH ? "detach" : "stop") : null;
          },
          emit: (event) => options.onEvent({ ...event, seq: ++seq, time: Date.now() / 1000 } as RuntimeEvent),
          complete: () => resolve(scriptedResult(spec)),
          fail: reject,
        };
        if (options.signal.aborted) reject(options.signal.reason);
        options.signal.addEventListener("abort", () => reject(options.signal.reason), { once: true });
        this.runs.push(run);
        this.onRun(run);
        this.#waiting.shift()?.(run);
      });
    } finally {
      this.active -= 1;
    }
  }

  async capabilities(): Promise<RuntimeCapabilities> {
    throw new Error("not asked in these tests");
  }
}

/** A failure as the runtime reports it. */
export function runtimeFailure(code: "training_failed" | "out_of_memory" | "base_model_invalid", isRetryable: boolean): TrainingError {
  return new TrainingError(code, `the runtime said ${code}`, { isRetryable });
}

export function scriptedResult(spec: RuntimeSpec): TrainResult | EvaluateResult {
  const sha256 = "0".repeat(64);
  if (spec.kind === "evaluate")
    return { kind: "evaluate", base_model: spec.base_model, base_model_sha256: sha256, seconds: {}, evaluation: [] };
  return {
    kind: "train",
    adapter_name: spec.adapter_name,
    adapter_path: `/runtime/adapters/${spec.adapter_name}`,
    adapter_sha256: sha256,
    base_model: spec.base_model,
    base_model_sha256: sha256,
    rank: spec.lora.r,
    target_modules: [],
    samples: 1,
    steps: 1,
    resumed: false,
    loss_first: 1,
    loss_last: 1,
    seconds: {},
    evaluation: null,
  };
}
