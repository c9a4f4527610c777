import type { TrainerType, TrainingOverrides } from "../types/job.js";

type TrainerDefaults = Required<Omit<TrainingOverrides, "baseModel" | "maxSteps" | "bits" | "deviceMap" | "maxMemory" | "threads">> &
  Pick<TrainingOverrides, "bits">;

/**
 * Rank, alpha, dropout and modules are the LoRA paper's usual choice for attention (Hu et al. 2021, with alpha = 2r as in
 * Hugging Face's guides); the learning rate is QLoRA's for 7–13 B models (Dettmers et al. 2023, table 9), ten times that
 * of full fine-tuning. Small models learn with ten times more: override it.
 */
const lora = {
  learningRate: 2e-4,
  epochs: 3,
  batchSize: 4,
  gradientAccumulationSteps: 1,
  maxLength: 512,
  warmupSteps: 0,
  rank: 16,
  alpha: 32,
  dropout: 0.1,
  targetModules: ["q_proj", "k_proj", "v_proj", "o_proj"],
  augmentShare: 0,
  replayPerEpoch: 0,
  checkpointEverySteps: 500,
  gradientCheckpointing: false,
  precision: "auto",
  seed: 42,
} satisfies TrainerDefaults;

/** What each trainer does when nothing is overridden. */
export const TRAINER_DEFAULTS = {
  lora,
  /** 4-bit NF4 base; activations recomputed, because who quantises is short of memory. */
  qlora: { ...lora, bits: 4, gradientCheckpointing: true },
  /** Goes on from what serves: one careful pass, so that little is forgotten. */
  continuous: { ...lora, learningRate: 5e-6, epochs: 1 },
} satisfies Record<Exclude<TrainerType, "preference">, TrainerDefaults>;

/** Evaluation beside training. `maxNewTokens` follows the longest right answer, within these bounds. */
export const EVALUATION_DEFAULTS = { distractors: 8, batchSize: 8, minNewTokens: 16, maxNewTokens: 512 } as const;

/** Checkpoints that stay on disk while a job runs. */
export const CHECKPOINTS_KEPT = 2;
