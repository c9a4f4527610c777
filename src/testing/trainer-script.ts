import { setTimeout as delay } from "node:timers/promises";
import type { EvaluateResult, RuntimeErrorCode, RuntimeEvent, RuntimeSpec, TrainResult } from "../types/runtime-protocol.js";

type WithoutStamp<Event> = Event extends unknown ? Omit<Event, "seq" | "time"> : never;

/** An event of a job without its number and time, which the stand-in adds. */
export type ScriptedEvent = WithoutStamp<RuntimeEvent>;

/** What a script may look at besides the spec. */
export interface ScriptContext {
  /** Aborts when the job is cancelled. */
  signal: AbortSignal;
  /** Text of an uploaded file by its path, or undefined. */
  file(path: string): string | undefined;
}

/** Plays one job: what it yields is what the job's event stream sends. */
export type TrainerScript = (spec: RuntimeSpec, context: ScriptContext) => Iterable<ScriptedEvent> | AsyncIterable<ScriptedEvent>;

/** Options of {@link jobScript}. */
export interface JobScriptOptions {
  /** The figures that the job reports: scripted, nothing is computed. */
  result: TrainResult | EvaluateResult;
  /** Optimiser steps it reports. Default 3. */
  steps?: number;
  /** Milliseconds between events. Default 0. */
  intervalMs?: number;
}

/**
 * A script of an uneventful job: its phases, `steps` times progress and metrics, then `result`.
 * @example
 * ```ts
 * const result = { kind: "evaluate" as const, base_model: "tiny", base_model_sha256: "0".repeat(64), seconds: {}, evaluation: [] };
 * const script = jobScript({ result, steps: 10, intervalMs: 20 });
 * await using trainer = await startStandInTrainer({ script });
 * ```
 */
export function jobScript({ result, steps = 3, intervalMs = 0 }: JobScriptOptions): TrainerScript {
  return async function* play(spec, { signal }) {
    for (const event of uneventful(spec, result, steps)) {
      if (intervalMs > 0) await delay(intervalMs, undefined, { signal });
      yield event;
    }
  };
}

function* uneventful(spec: RuntimeSpec, result: TrainResult | EvaluateResult, steps: number): Iterable<ScriptedEvent> {
  yield { type: "phase", phase: "load" };
  if (spec.kind === "train") {
    yield { type: "phase", phase: "train" };
    const { learning_rate, epochs } = spec.settings;
    for (let step = 1; step <= steps; step += 1) {
      yield { type: "progress", step, total_steps: steps, epoch: (step / steps) * epochs, total_epochs: epochs, eta_seconds: steps - step };
      yield { type: "metrics", step, loss: 1 / step, learning_rate, grad_norm: null, tokens_per_second: null };
    }
  } else yield { type: "phase", phase: "evaluate" };
  yield { type: "result", result };
}

/**
 * A script of a job that fails with `code`.
 * @example
 * ```ts
 * await using trainer = await startStandInTrainer({ script: failingScript("out_of_memory", "the GPU is full") });
 * ```
 */
export function failingScript(code: RuntimeErrorCode, message: string, retryable = false): TrainerScript {
  return () => [
    { type: "phase", phase: "load" },
    { type: "error", code, message, retryable },
  ];
}
