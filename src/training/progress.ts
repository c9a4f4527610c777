import type { RuntimeEvent, RuntimeSpec } from "../types/runtime-protocol.js";

type Phase = Extract<RuntimeEvent, { type: "phase" }>["phase"];

/** Where each phase begins, in percent of the job. Rough: steps are known only while training. */
const TRAIN_ONLY: Record<Phase, number> = { import: 0, load: 3, prepare: 6, train: 8, evaluate: 97, save: 98 };
const TRAIN_AND_EVALUATE: Record<Phase, number> = { import: 0, load: 3, prepare: 6, train: 8, save: 80, evaluate: 82 };
const EVALUATE_ONLY: Record<Phase, number> = { import: 0, load: 10, prepare: 20, train: 20, evaluate: 25, save: 98 };

function starts(spec: RuntimeSpec): Record<Phase, number> {
  if (spec.kind === "evaluate") return EVALUATE_ONLY;
  return spec.evaluation === undefined ? TRAIN_ONLY : TRAIN_AND_EVALUATE;
}

/** Percent of the job that is done when the phase begins. */
export function phaseProgress(phase: Phase, spec: RuntimeSpec): number {
  return starts(spec)[phase];
}

/** Percent of the job that is done after a step. */
export function trainProgress(event: { step: number; total_steps: number }, spec: RuntimeSpec): number {
  const from = starts(spec).train;
  const to = spec.kind === "train" && spec.evaluation !== undefined ? TRAIN_AND_EVALUATE.save : TRAIN_ONLY.evaluate;
  const share = event.total_steps > 0 ? Math.min(1, event.step / event.total_steps) : 0;
  return from + (to - from) * share;
}
