import { ValidationError } from "../errors.js";
import type { DatasetItem, SplitName } from "../types/dataset.js";
import type { TrainerType, TrainingOverrides } from "../types/job.js";
import { type EvaluateSpec, type EvaluationSetKind, PROTOCOL_VERSION, type TrainSpec } from "../types/runtime-protocol.js";
import type { DatasetSource } from "./client-options.js";
import { CHECKPOINTS_KEPT, EVALUATION_DEFAULTS, TRAINER_DEFAULTS } from "./trainer-defaults.js";
import type { TrainingFile } from "./training-backend.js";
import { evaluationRow, jsonLines, type PromptPair, replayRow, trainingLines } from "./training-files.js";

/** What a training job asks for, as its row keeps it. */
export interface TrainRequest {
  jobId: string;
  datasetId: string;
  trainer: TrainerType;
  adapterName: string;
  baseModel: string;
  /** Changes to the trainer's defaults, the client's first and the job's over them. */
  overrides: TrainingOverrides;
  initAdapterPath?: string | undefined;
  replay?: readonly PromptPair[] | undefined;
  rehearsal?: readonly PromptPair[] | undefined;
  regression?: readonly { name: string; items: readonly PromptPair[] }[] | undefined;
  probes?: readonly { name: string; items: readonly PromptPair[] }[] | undefined;
  /** Undefined = no evaluation. */
  baselineAdapterPath?: string | null | undefined;
}

/** One set of questions with their right answers. */
export interface EvaluationSetInput {
  name: string;
  kind: EvaluationSetKind;
  items: readonly (PromptPair & { id: string })[];
}

export interface EvaluateRequest {
  jobId: string;
  baseModel: string;
  models: readonly { name: string; adapterPath: string | null }[];
  sets: readonly EvaluationSetInput[];
  overrides: TrainingOverrides;
}

export interface BuiltSpec<Spec> {
  spec: Spec;
  files: TrainingFile[];
}

/** Refuses what no trainer of this version can do; `createJob` calls it too, so that a job fails before it waits. */
export function assertTrainable(request: Pick<TrainRequest, "trainer" | "initAdapterPath">): void {
  if (request.trainer === "preference") {
    throw new ValidationError(
      "capability_missing",
      "The preference trainer (KTO from thumbs, DPO from corrections) is not in this version: use lora, qlora or continuous.",
      { details: { trainer: request.trainer } },
    );
  }
  if (request.trainer === "continuous" && request.initAdapterPath === undefined) {
    throw new ValidationError("input_invalid", "The continuous trainer goes on from an adapter: give initAdapterPath, or use lora.", {
      details: { field: "initAdapterPath" },
    });
  }
}

/** The spec and the files of a training job; files are read from the dataset only when they are sent. */
export async function buildTrainSpec(
  request: TrainRequest,
  datasets: DatasetSource,
  options: { signal?: AbortSignal } = {},
): Promise<BuiltSpec<TrainSpec>> {
  assertTrainable(request);
  const trainer = request.trainer as TrainSpec["trainer"];
  const defaults = TRAINER_DEFAULTS[trainer];
  const chosen = { ...defaults, ...request.overrides };
  const folder = `datasets/${request.jobId}`;
  const items = (split: SplitName) => datasets.items(request.datasetId, { split, ...options });
  const files: TrainingFile[] = [{ path: `${folder}/train.jsonl`, content: trainingLines(items("train"), request.rehearsal ?? []) }];

  let replayPath: string | undefined;
  if (request.replay !== undefined && request.replay.length > 0) {
    replayPath = `${folder}/replay.jsonl`;
    files.push({ path: replayPath, content: jsonLines(request.replay, replayRow) });
  }

  let evaluation: TrainSpec["evaluation"];
  if (request.baselineAdapterPath !== undefined) {
    const sets: EvaluationSetSpec[] = [];
    let longest = 0;
    for (const split of ["recall", "generalisation"] as const) {
      const extent = await measure(items(split));
      if (extent.count === 0) continue;
      longest = Math.max(longest, extent.longest);
      const path = `${folder}/${split}.jsonl`;
      sets.push({ name: split, kind: split, path });
      files.push({ path, content: jsonLines(items(split), (item) => evaluationRow(pairOf(item), 0)) });
    }
    for (const [index, set] of (request.regression ?? []).entries()) {
      if (set.items.length === 0) continue;
      longest = Math.max(longest, longestAnswer(set.items));
      const path = `${folder}/regression-${index + 1}.jsonl`;
      sets.push({ name: set.name, kind: "regression", path });
      files.push({ path, content: jsonLines(set.items, evaluationRow) });
    }
    // nothing is generated for a probe, so that its answers do not lengthen what is
    for (const [index, set] of (request.probes ?? []).entries()) {
      if (set.items.length === 0) continue;
      const path = `${folder}/probe-${index + 1}.jsonl`;
      sets.push({ name: set.name, kind: "probe", path });
      files.push({ path, content: jsonLines(set.items, evaluationRow) });
    }
    if (sets.length > 0) evaluation = { ...evaluationSettings(sets, longest), baseline_adapter: request.baselineAdapterPath };
  }

  const spec: TrainSpec = {
    protocol: PROTOCOL_VERSION,
    kind: "train",
    job_id: request.jobId,
    trainer,
    base_model: chosen.baseModel ?? request.baseModel,
    adapter_name: request.adapterName,
    seed: chosen.seed,
    ...(trainer === "continuous" ? { init_adapter: request.initAdapterPath } : {}),
    train_path: `${folder}/train.jsonl`,
    ...(replayPath === undefined ? {} : { replay_path: replayPath }),
    lora: { r: chosen.rank, alpha: chosen.alpha, dropout: chosen.dropout, target_modules: chosen.targetModules },
    ...(trainer === "qlora" ? { quantization: { bits: chosen.bits ?? 4 } } : {}),
    settings: {
      learning_rate: chosen.learningRate,
      epochs: chosen.epochs,
      batch_size: chosen.batchSize,
      gradient_accumulation_steps: chosen.gradientAccumulationSteps,
      max_length: chosen.maxLength,
      warmup_steps: chosen.warmupSteps,
      scheduler: "cosine",
      weight_decay: 0,
      max_grad_norm: 1,
      augment_share: chosen.augmentShare,
      replay_per_epoch: replayPath === undefined ? 0 : (request.overrides.replayPerEpoch ?? request.replay?.length ?? 0),
      ...(chosen.maxSteps === undefined ? {} : { max_steps: chosen.maxSteps }),
    },
    checkpoint: { every_steps: chosen.checkpointEverySteps, keep: CHECKPOINTS_KEPT },
    hardware: hardwareSettings(chosen, chosen.gradientCheckpointing),
    ...(evaluation === undefined ? {} : { evaluation }),
  };
  return { spec, files };
}

/** The spec and the files of an evaluation of finished adapters. */
export function buildEvaluateSpec(request: EvaluateRequest): BuiltSpec<EvaluateSpec> {
  const files: TrainingFile[] = [];
  const sets = request.sets.map((set, index) => {
    const path = `datasets/${request.jobId}/set-${index + 1}.jsonl`;
    files.push({ path, content: jsonLines(set.items, evaluationRow) });
    return { name: set.name, kind: set.kind, path };
  });
  const longest = Math.max(0, ...request.sets.filter((set) => set.kind !== "probe").map((set) => longestAnswer(set.items)));
  const spec: EvaluateSpec = {
    protocol: PROTOCOL_VERSION,
    kind: "evaluate",
    job_id: request.jobId,
    base_model: request.overrides.baseModel ?? request.baseModel,
    models: request.models.map((model) => ({ name: model.name, adapter: model.adapterPath })),
    evaluation: evaluationSettings(sets, longest),
    hardware: hardwareSettings(request.overrides, false),
  };
  return { spec, files };
}

type EvaluationSetSpec = EvaluateSpec["evaluation"]["sets"][number];

function evaluationSettings(sets: EvaluationSetSpec[], longestAnswerBytes: number): EvaluateSpec["evaluation"] {
  const { distractors, batchSize, minNewTokens, maxNewTokens } = EVALUATION_DEFAULTS;
  // No tokenizer here: a byte-level token is at least one byte, so the bytes of the longest answer are enough for it.
  const wanted = Math.min(maxNewTokens, Math.max(minNewTokens, longestAnswerBytes + 8));
  return { sets, distractors, max_new_tokens: wanted, batch_size: batchSize };
}

function hardwareSettings(chosen: TrainingOverrides, gradientCheckpointing: boolean): TrainSpec["hardware"] {
  return {
    precision: chosen.precision ?? "auto",
    gradient_checkpointing: gradientCheckpointing,
    ...(chosen.deviceMap === undefined ? {} : { device_map: chosen.deviceMap }),
    ...(chosen.maxMemory === undefined ? {} : { max_memory: chosen.maxMemory }),
    ...(chosen.threads === undefined ? {} : { threads: chosen.threads }),
  };
}

function pairOf(item: DatasetItem): PromptPair {
  return { id: item.sample.id, prompt: item.sample.prompt, response: item.sample.response, group: item.group };
}

function longestAnswer(items: readonly PromptPair[]): number {
  return items.reduce((longest, item) => Math.max(longest, Buffer.byteLength(item.response)), 0);
}

async function measure(items: AsyncIterable<DatasetItem>): Promise<{ count: number; longest: number }> {
  let count = 0;
  let longest = 0;
  for await (const item of items) {
    count += 1;
    longest = Math.max(longest, Buffer.byteLength(item.sample.response));
  }
  return { count, longest };
}
