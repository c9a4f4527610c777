import { z } from "zod";

/**
 * The wire format between the SDK and `clara_runtime`, version 1. Field names are snake_case because this *is* the wire:
 * the JSON Schema that the Python side validates against (`gpu-runtime/clara_runtime/protocol.schema.json`) is
 * generated from this file by `npm run protocol`. Every path in a spec is relative to the runtime's root folder,
 * or absolute inside it.
 */
export const PROTOCOL_VERSION = 1;

/** One chat turn. */
export const ChatMessage = z.object({
  role: z.enum(["system", "user", "assistant"]),
  content: z.string(),
});
export type ChatMessage = z.infer<typeof ChatMessage>;

/** One line of a training file: the conversation so far, and the answer to learn. */
export const TrainingRow = z.object({
  id: z.string().min(1),
  messages: z.array(ChatMessage).min(1),
  response: z.string().min(1),
  /** Loss weight of the row, > 0. Default 1. */
  weight: z.number().positive().optional(),
  /** `feedback` rows may be varied by `augment_share`; `replay` and `retrieved` rows are used as they stand. */
  source: z.enum(["feedback", "replay", "retrieved"]).optional(),
});
export type TrainingRow = z.infer<typeof TrainingRow>;

/** One line of an evaluation file. */
export const EvaluationRow = z.object({
  id: z.string().min(1),
  messages: z.array(ChatMessage).min(1),
  response: z.string().min(1),
  /** Items with the same group state the same fact; an item's distractors come from other groups. */
  group: z.string().optional(),
});
export type EvaluationRow = z.infer<typeof EvaluationRow>;

/**
 * - `recall`: other phrasings of learnt facts, judged by exact answers and by choice probability.
 * - `generalisation`: facts kept out whole, judged by perplexity.
 * - `regression`: what must stay as it was (general abilities, earlier domains).
 * - `probe`: questions with answers of which only the likelihood is asked; nothing is generated, and nothing compared with.
 */
export const EvaluationSetKind = z.enum(["recall", "generalisation", "regression", "probe"]);
export type EvaluationSetKind = z.infer<typeof EvaluationSetKind>;

export const EvaluationSetSpec = z.object({
  name: z.string().min(1),
  kind: EvaluationSetKind,
  /** JSON lines of `EvaluationRow`. */
  path: z.string().min(1),
});

export const LoraSettings = z.object({
  r: z.number().int().min(1).max(512),
  alpha: z.number().positive(),
  dropout: z.number().min(0).max(0.9),
  /** Module names, or `all-linear`. */
  target_modules: z.union([z.literal("all-linear"), z.array(z.string().min(1)).min(1)]),
});

export const TrainSettings = z.object({
  learning_rate: z.number().positive(),
  epochs: z.number().int().min(1),
  batch_size: z.number().int().min(1),
  gradient_accumulation_steps: z.number().int().min(1),
  /** Tokens a row may have; longer rows are cut at the front of the prompt, never in the answer. */
  max_length: z.number().int().min(8),
  warmup_steps: z.number().int().min(0),
  scheduler: z.enum(["cosine", "linear", "constant"]),
  weight_decay: z.number().min(0),
  max_grad_norm: z.number().positive(),
  /** Share of feedback rows, redrawn each epoch, whose frame words (those that the answer does not restate) are varied. */
  augment_share: z.number().min(0).max(1),
  /** Replay rows drawn anew each epoch; 0 = none. */
  replay_per_epoch: z.number().int().min(0),
  /** Stop after this many optimiser steps, whatever `epochs` says. */
  max_steps: z.number().int().min(1).optional(),
});

export const HardwareSettings = z.object({
  /** `auto`: bf16 where the device has it, else fp16 on a GPU, fp32 on a CPU. */
  precision: z.enum(["auto", "fp32", "fp16", "bf16"]),
  gradient_checkpointing: z.boolean(),
  /** accelerate's device map, for example `auto`; absent = one device. */
  device_map: z.string().optional(),
  /** Per device, for example `{ "0": "10GB", "cpu": "16GB" }`. */
  max_memory: z.record(z.string(), z.string()).optional(),
  /** CPU threads of the trainer; absent = PyTorch's own choice. */
  threads: z.number().int().min(1).optional(),
});

export const EvaluationSettings = z.object({
  sets: z.array(EvaluationSetSpec),
  /** Wrong answers of the same kind that each right answer is compared with. */
  distractors: z.number().int().min(0).max(32),
  max_new_tokens: z.number().int().min(1),
  batch_size: z.number().int().min(1),
});

/** What `python -m clara_runtime.train --spec FILE` reads. */
export const TrainSpec = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  kind: z.literal("train"),
  job_id: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  trainer: z.enum(["lora", "qlora", "continuous"]),
  /** A folder, or a model hub id. */
  base_model: z.string().min(1),
  /** `name@vN`; the adapter is written to `adapters/NAME@vN` under the root. */
  adapter_name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}@v[1-9][0-9]*$/),
  seed: z.number().int().min(0),
  /** Adapter folder to start from (`continuous`). */
  init_adapter: z.string().optional(),
  /** JSON lines of `TrainingRow`. */
  train_path: z.string().min(1),
  replay_path: z.string().optional(),
  lora: LoraSettings,
  quantization: z.object({ bits: z.union([z.literal(4), z.literal(8)]) }).optional(),
  settings: TrainSettings,
  checkpoint: z.object({
    every_steps: z.number().int().min(1),
    keep: z.number().int().min(1),
  }),
  hardware: HardwareSettings,
  /** When given, the baseline and the new adapter are evaluated in the same process. */
  evaluation: EvaluationSettings.extend({
    /** What serves now: an adapter folder, or null for the base model. */
    baseline_adapter: z.string().nullable(),
  }).optional(),
});
export type TrainSpec = z.infer<typeof TrainSpec>;

/** What `python -m clara_runtime.evaluate --spec FILE` reads. */
export const EvaluateSpec = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  kind: z.literal("evaluate"),
  job_id: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  base_model: z.string().min(1),
  models: z.array(z.object({ name: z.string().min(1), adapter: z.string().nullable() })).min(1),
  evaluation: EvaluationSettings,
  hardware: HardwareSettings,
});
export type EvaluateSpec = z.infer<typeof EvaluateSpec>;

export const RuntimeSpec = z.discriminatedUnion("kind", [TrainSpec, EvaluateSpec]);
export type RuntimeSpec = z.infer<typeof RuntimeSpec>;

export const EvaluatedItem = z.object({
  id: z.string(),
  /** Of a probe: empty. */
  output: z.string(),
  /** Output equals the answer after trimming white space; of a probe: the model would generate the answer. */
  exact: z.boolean(),
  /** Sum of the answer tokens' negative log-likelihood, nats. */
  nll: z.number(),
  tokens: z.number().int().min(1),
  /** Probability of the right answer among itself and its distractors, from length-normalised log-likelihoods; null without distractors. */
  choice_probability: z.number().min(0).max(1).nullable(),
});
export type EvaluatedItem = z.infer<typeof EvaluatedItem>;

export const EvaluatedSet = z.object({
  name: z.string(),
  kind: EvaluationSetKind,
  count: z.number().int().min(0),
  /** Share of exact answers. */
  exact: z.number().min(0).max(1),
  /** exp(sum of nll / sum of tokens). */
  perplexity: z.number().positive(),
  choice_probability: z.number().min(0).max(1).nullable(),
  items: z.array(EvaluatedItem),
});
export type EvaluatedSet = z.infer<typeof EvaluatedSet>;

export const EvaluatedModel = z.object({
  /** In a training job: `baseline` and `candidate`. */
  name: z.string(),
  adapter: z.string().nullable(),
  sets: z.array(EvaluatedSet),
});
export type EvaluatedModel = z.infer<typeof EvaluatedModel>;

export const FingerprintAnswer = z.object({
  text: z.string(),
  /** Greedy, and at most 24. */
  token_ids: z.array(z.number().int().min(0)),
  /** Of each token, nats. */
  logprobs: z.array(z.number()),
});
export type FingerprintAnswer = z.infer<typeof FingerprintAnswer>;

/** What a trained adapter and its base answer to a few prompts of the training data: an engine that serves the adapter gives the same. */
export const AdapterFingerprint = z.object({
  prompts: z.array(
    z.object({
      messages: z.array(z.object({ role: z.string(), content: z.string() })),
      answer: FingerprintAnswer,
      base: FingerprintAnswer,
      /** Mean change of the answer's log-probabilities that the adapter makes, nats a token. */
      shift: z.number().min(0),
    }),
  ),
});
export type AdapterFingerprint = z.infer<typeof AdapterFingerprint>;

export const TrainResult = z.object({
  kind: z.literal("train"),
  adapter_name: z.string(),
  /** Absolute folder on the runtime's machine. */
  adapter_path: z.string(),
  /** SHA-256 of `adapter_model.safetensors`, hex. */
  adapter_sha256: z.string().regex(/^[0-9a-f]{64}$/),
  base_model: z.string(),
  /** SHA-256 over the base's weight files, hex. */
  base_model_sha256: z.string().regex(/^[0-9a-f]{64}$/),
  rank: z.number().int(),
  target_modules: z.array(z.string()),
  samples: z.number().int(),
  steps: z.number().int(),
  /** True where the job went on from a checkpoint. */
  resumed: z.boolean(),
  loss_first: z.number(),
  loss_last: z.number(),
  /** Seconds by phase: import, load, prepare, train, evaluate, save. */
  seconds: z.record(z.string(), z.number()),
  evaluation: z.array(EvaluatedModel).nullable(),
  /** Absent where an older runtime trained it. */
  fingerprint: AdapterFingerprint.optional(),
});
export type TrainResult = z.infer<typeof TrainResult>;

export const EvaluateResult = z.object({
  kind: z.literal("evaluate"),
  base_model: z.string(),
  base_model_sha256: z.string().regex(/^[0-9a-f]{64}$/),
  seconds: z.record(z.string(), z.number()),
  evaluation: z.array(EvaluatedModel),
});
export type EvaluateResult = z.infer<typeof EvaluateResult>;

/** Stable names of what can go wrong inside the runtime; each has an exit code of its own (docs/runtime-protocol.md). */
export const RuntimeErrorCode = z.enum([
  "spec_invalid",
  "data_invalid",
  "base_model_invalid",
  "adapter_invalid",
  "path_outside_root",
  "out_of_memory",
  "disk_full",
  "cancelled",
  "internal",
]);
export type RuntimeErrorCode = z.infer<typeof RuntimeErrorCode>;

const eventBase = {
  /** Counts up from 1 within a job. */
  seq: z.number().int().min(1),
  /** Unix seconds. */
  time: z.number(),
};

/** One line that a job prints on stdout, and the `data` of one server-sent event (its `id` is `seq`). */
export const RuntimeEvent = z.discriminatedUnion("type", [
  z.object({ ...eventBase, type: z.literal("phase"), phase: z.enum(["import", "load", "prepare", "train", "evaluate", "save"]) }),
  z.object({
    ...eventBase,
    type: z.literal("progress"),
    step: z.number().int(),
    total_steps: z.number().int(),
    epoch: z.number(),
    total_epochs: z.number(),
    eta_seconds: z.number().nullable(),
  }),
  z.object({
    ...eventBase,
    type: z.literal("metrics"),
    step: z.number().int(),
    loss: z.number(),
    learning_rate: z.number(),
    grad_norm: z.number().nullable(),
    tokens_per_second: z.number().nullable(),
  }),
  z.object({ ...eventBase, type: z.literal("log"), level: z.enum(["debug", "info", "warning", "error"]), message: z.string() }),
  z.object({ ...eventBase, type: z.literal("checkpoint"), step: z.number().int(), path: z.string() }),
  z.object({ ...eventBase, type: z.literal("result"), result: z.discriminatedUnion("kind", [TrainResult, EvaluateResult]) }),
  z.object({
    ...eventBase,
    type: z.literal("error"),
    code: RuntimeErrorCode,
    message: z.string(),
    /** True where the same job may succeed when tried again. */
    retryable: z.boolean(),
  }),
]);
export type RuntimeEvent = z.infer<typeof RuntimeEvent>;

/** `GET /v1/jobs/{id}` of the runtime. */
export const RuntimeJob = z.object({
  job_id: z.string(),
  kind: z.enum(["train", "evaluate"]),
  status: z.enum(["queued", "running", "completed", "failed", "cancelled"]),
  created_at: z.number(),
  started_at: z.number().nullable(),
  ended_at: z.number().nullable(),
  last_seq: z.number().int(),
  error: z.object({ code: RuntimeErrorCode, message: z.string(), retryable: z.boolean() }).nullable(),
});
export type RuntimeJob = z.infer<typeof RuntimeJob>;

/** `GET /v1/capabilities` of the runtime. */
export const RuntimeCapabilities = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  version: z.string(),
  device: z.enum(["cpu", "cuda"]),
  gpus: z.array(z.object({ name: z.string(), memory_bytes: z.number().int() })),
  trainers: z.array(z.string()),
  quantization_bits: z.array(z.number().int()),
  /** Set where this process also serves a model. */
  serving: z
    .object({ base_model: z.string(), base_model_sha256: z.string(), max_lora_rank: z.number().int(), max_adapters: z.number().int() })
    .nullable(),
  versions: z.record(z.string(), z.string()),
});
export type RuntimeCapabilities = z.infer<typeof RuntimeCapabilities>;
