import type { ClaraOptions } from "../../clara.js";
import type { TrainingOverrides } from "../../types/job.js";

/** Rows that one optimiser step sees. */
const BATCH_SIZE = 16;
const REPLAY_PER_EPOCH = 50;
/** Optimiser steps after which the tiny base has learnt some dozens of facts; a larger file gets fewer epochs, a smaller one more. */
const STEPS = 360;

/**
 * Settings for the tiny base model: two million parameters need a far higher learning rate and far more epochs than a
 * model of billions (docs/decisions/2026-11-24-tiny-base.md).
 */
export function tinyModelOverrides(trainer: "lora" | "qlora", rows: number): TrainingOverrides {
  const stepsPerEpoch = Math.ceil((rows + REPLAY_PER_EPOCH) / BATCH_SIZE);
  return {
    learningRate: 1e-3,
    epochs: Math.max(12, Math.min(60, Math.round(STEPS / stepsPerEpoch))),
    batchSize: BATCH_SIZE,
    warmupSteps: 10,
    dropout: 0,
    targetModules: "all-linear",
    augmentShare: 0.6,
    replayPerEpoch: REPLAY_PER_EPOCH,
    gradientCheckpointing: false,
    precision: "fp32",
    threads: 1,
    maxLength: 128,
    ...(trainer === "qlora" ? { bits: 4 as const } : {}),
  };
}

/** Pairs that the assistant could answer before: half of them replayed in training, half only asked. */
export interface GeneralPairs {
  replay: { prompt: string; response: string }[];
  holdout: { prompt: string; response: string }[];
}

/** How the demo opens CLARA: everything embedded, in one folder. */
export function demoOptions(input: {
  dataDir: string;
  trainer: "lora" | "qlora";
  rows: number;
  general: GeneralPairs;
  serving?: ClaraOptions["serving"];
}): ClaraOptions {
  return {
    database: { dataDir: input.dataDir },
    serving: input.serving,
    pipeline: {
      trainer: input.trainer,
      bufferCapacity: 100_000,
      overrides: tinyModelOverrides(input.trainer, input.rows),
      general: input.general,
    },
  };
}
