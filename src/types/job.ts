import { z } from "zod";
import { Slug } from "./common.js";
import { EvaluatedModel, TrainResult } from "./runtime-protocol.js";

export const TrainerType = z.enum(["lora", "qlora", "continuous", "preference"]);
export type TrainerType = z.infer<typeof TrainerType>;

export const JobStatus = z.enum(["pending", "queued", "running", "paused", "completed", "failed", "cancelled"]);
export type JobStatus = z.infer<typeof JobStatus>;

/** Changes to the defaults of a trainer; every field optional. */
export const TrainingOverrides = z
  .object({
    baseModel: z.string().min(1),
    learningRate: z.number().positive(),
    epochs: z.number().int().min(1).max(10_000),
    batchSize: z.number().int().min(1),
    gradientAccumulationSteps: z.number().int().min(1),
    maxLength: z.number().int().min(8),
    warmupSteps: z.number().int().min(0),
    maxSteps: z.number().int().min(1),
    rank: z.number().int().min(1).max(512),
    alpha: z.number().positive(),
    dropout: z.number().min(0).max(0.9),
    targetModules: z.union([z.literal("all-linear"), z.array(z.string().min(1)).min(1)]),
    /** QLoRA: 4 or 8. */
    bits: z.union([z.literal(4), z.literal(8)]),
    /** Share of feedback rows whose frame words are varied each epoch. */
    augmentShare: z.number().min(0).max(1),
    replayPerEpoch: z.number().int().min(0),
    checkpointEverySteps: z.number().int().min(1),
    gradientCheckpointing: z.boolean(),
    precision: z.enum(["auto", "fp32", "fp16", "bf16"]),
    deviceMap: z.string(),
    maxMemory: z.record(z.string(), z.string()),
    threads: z.number().int().min(1),
    seed: z.number().int().min(0),
  })
  .partial()
  .strict();
export type TrainingOverrides = z.infer<typeof TrainingOverrides>;

/** What `createJob` takes. */
export const JobInput = z.object({
  datasetId: z.string().min(1).max(100),
  /** Names the adapter; `^[a-z0-9_-]+$`. */
  configName: Slug,
  trainer: TrainerType.default("lora"),
  /** 1 (lowest) … 5; default 1. */
  priority: z.number().int().min(1).max(5).default(1),
  overrides: TrainingOverrides.optional(),
  /** Adapter to start from (`continuous`): an adapter folder of the runtime. */
  initAdapterPath: z.string().optional(),
  /** Rows replayed against forgetting, and sets to evaluate on beside the dataset's own. */
  replay: z.array(z.object({ prompt: z.string(), response: z.string() })).optional(),
  /** Samples of earlier data sets that a fresh adapter must know too: trained like the data set's own rows, every epoch. */
  rehearsal: z.array(z.object({ prompt: z.string(), response: z.string() })).optional(),
  regression: z
    .array(
      z.object({ name: z.string(), items: z.array(z.object({ prompt: z.string(), response: z.string(), group: z.string().optional() })) }),
    )
    .optional(),
  /** Questions with answers of which the evaluation gives the likelihood alone, by set; for example what the gate probes a candidate with. */
  probes: z
    .array(z.object({ name: z.string(), items: z.array(z.object({ id: z.string(), prompt: z.string(), response: z.string() })) }))
    .optional(),
  /** What serves now, for the paired evaluation: an adapter folder of the runtime, or null for the base model. Absent = no evaluation. */
  baselineAdapterPath: z.string().nullable().optional(),
  /** The same key gives the same job, never a second one. */
  idempotencyKey: z.string().max(256).optional(),
  createdBy: z.string().max(256).optional(),
});
export type JobInput = z.input<typeof JobInput>;

/** A training job, as people see it. */
export const TrainingJob = z.object({
  id: z.string(),
  datasetId: z.string(),
  configName: z.string(),
  trainer: TrainerType,
  /** `configName@vN`. */
  adapterName: z.string(),
  priority: z.number().int(),
  status: JobStatus,
  /** 0..100. */
  progressPercent: z.number(),
  phase: z.string().nullable(),
  currentEpoch: z.number(),
  totalEpochs: z.number(),
  step: z.number().int(),
  totalSteps: z.number().int(),
  etaSeconds: z.number().nullable(),
  /** Latest values: loss, learningRate, perplexity, tokensPerSecond. */
  metrics: z.record(z.string(), z.number()),
  attempt: z.number().int(),
  adapterPath: z.string().nullable(),
  result: TrainResult.omit({ evaluation: true }).nullable(),
  evaluation: z.array(EvaluatedModel).nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  createdBy: z.string().nullable(),
  createdAt: z.iso.datetime(),
  startedAt: z.iso.datetime().nullable(),
  completedAt: z.iso.datetime().nullable(),
});
export type TrainingJob = z.infer<typeof TrainingJob>;

/** What `watch` yields; `sequence` counts up from 1 within a job, so that a reader resumes without loss or repeat. */
export const JobEvent = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("job_update"),
    jobId: z.string(),
    sequence: z.number().int(),
    timestamp: z.iso.datetime(),
    status: JobStatus,
    phase: z.string().nullable(),
    progressPercent: z.number(),
    currentEpoch: z.number(),
    totalEpochs: z.number(),
    etaSeconds: z.number().nullable(),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
  }),
  z.object({
    type: z.literal("metrics_update"),
    jobId: z.string(),
    sequence: z.number().int(),
    timestamp: z.iso.datetime(),
    step: z.number().int(),
    metrics: z.record(z.string(), z.number()),
  }),
  z.object({
    type: z.literal("log"),
    jobId: z.string(),
    sequence: z.number().int(),
    timestamp: z.iso.datetime(),
    level: z.enum(["debug", "info", "warning", "error"]),
    message: z.string(),
  }),
]);
export type JobEvent = z.infer<typeof JobEvent>;
