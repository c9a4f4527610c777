import type { CallOptions } from "../types/common.js";
import type { LearningCycle } from "../types/cycle.js";
import type { EvaluatorScores } from "./gate/evaluators.js";
import type { ServingPort } from "./ports.js";

/** What a user-supplied evaluator is given. Both adapters are loaded while it runs. */
export interface EvaluatorInput {
  cycle: LearningCycle;
  /** The new adapter; pin it by `adapterId` in `serving.generate`. */
  candidate: { adapterId: string; path: string };
  /** What serves now; `adapterId` null = the base model. */
  baseline: { adapterId: string | null };
  serving: ServingPort;
}

/**
 * A judge of the host's own, for example unit tests on generated code or a rubric. Higher is better. Values of the same items,
 * in the same order, are compared by the gate's paired interval; single scores by size.
 */
export interface CycleEvaluator {
  name: string;
  /** True: the candidate must be significantly better; default false: it must not be significantly worse. */
  mustImprove?: boolean;
  evaluate(input: EvaluatorInput, options: CallOptions): Promise<EvaluatorScores> | EvaluatorScores;
}
