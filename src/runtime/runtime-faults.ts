import { type ClaraErrorCode, TrainingError } from "../errors.js";
import { EvaluateResult, type RuntimeErrorCode, type RuntimeSpec, TrainResult } from "../types/runtime-protocol.js";

const CODES: Record<RuntimeErrorCode, ClaraErrorCode> = {
  spec_invalid: "training_failed",
  data_invalid: "training_failed",
  base_model_invalid: "base_model_invalid",
  adapter_invalid: "adapter_invalid",
  path_outside_root: "path_outside_root",
  out_of_memory: "out_of_memory",
  disk_full: "disk_full",
  cancelled: "training_cancelled",
  internal: "training_failed",
};

/** Exit codes of `clara_runtime.train` and `.evaluate` (docs/runtime-protocol.md), for a trainer that died before it could speak. */
export const EXIT_CODES: Readonly<Record<number, RuntimeErrorCode>> = {
  1: "internal",
  2: "spec_invalid",
  3: "data_invalid",
  4: "base_model_invalid",
  5: "adapter_invalid",
  6: "path_outside_root",
  7: "out_of_memory",
  8: "disk_full",
  9: "cancelled",
};

/** The error of a job that the runtime says has failed; `details.runtimeCode` is the runtime's own word. */
export function trainingError(
  spec: Pick<RuntimeSpec, "job_id" | "kind">,
  fault: { code: RuntimeErrorCode; message: string; retryable: boolean },
  details: Record<string, unknown> = {},
): TrainingError {
  const general = spec.kind === "evaluate" ? "evaluation_failed" : "training_failed";
  const code = CODES[fault.code] === "training_failed" ? general : CODES[fault.code];
  const what = spec.kind === "evaluate" ? "Evaluation" : "Training";
  return new TrainingError(code, `${what} job ${spec.job_id} failed: ${fault.message}`, {
    isRetryable: fault.retryable,
    details: { ...details, jobId: spec.job_id, runtimeCode: fault.code },
  });
}

/** The result as the spec's kind promises it. */
export function checkedResult(spec: RuntimeSpec, result: unknown): TrainResult | EvaluateResult {
  const parsed = (spec.kind === "train" ? TrainResult : EvaluateResult).safeParse(result);
  if (parsed.success) return parsed.data;
  throw trainingError(spec, {
    code: "internal",
    message: `the runtime's result is not a ${spec.kind} result (${parsed.error.issues[0]?.path.join(".")}: ${parsed.error.issues[0]?.message}); install matching versions`,
    retryable: false,
  });
}
