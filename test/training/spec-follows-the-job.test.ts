import { describe, expect, it } from "vitest";
import { buildEvaluateSpec, buildTrainSpec, type TrainRequest } from "../../src/training/build-spec.js";
import type { TrainingFile } from "../../src/training/training-backend.js";
import { EvaluateSpec, EvaluationRow, TrainingRow, TrainSpec } from "../../src/types/runtime-protocol.js";
import { datasetItem, datasetsOf, officeItems } from "./support/datasets.js";

const request: TrainRequest = {
  jobId: "job-1",
  datasetId: "office",
  trainer: "lora",
  adapterName: "office@v3",
  baseModel: "base",
  overrides: {},
};
const datasets = datasetsOf({ office: [...officeItems(), datasetItem("heavy", "Who?", "Ada.", "train", 5)] });

async function rowsOf(files: readonly TrainingFile[], path: string): Promise<unknown[]> {
  const file = files.find((candidate) => candidate.path === path)!;
  let text = "";
  for await (const part of file.content) text += part;
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
}

describe("the spec of a training job", () => {
  it("has the documented defaults of each trainer", async () => {
    const lora = (await buildTrainSpec(request, datasets)).spec;
    expect(TrainSpec.parse(lora)).toEqual(lora);
    expect(lora.lora).toEqual({ r: 16, alpha: 32, dropout: 0.1, target_modules: ["q_proj", "k_proj", "v_proj", "o_proj"] });
    expect(lora).toMatchObject({
      adapter_name: "office@v3",
      checkpoint: { every_steps: 500 },
      settings: { learning_rate: 2e-4, epochs: 3 },
    });
    expect(lora.quantization).toBeUndefined();
    expect(lora.evaluation).toBeUndefined();
    const qlora = (await buildTrainSpec({ ...request, trainer: "qlora" }, datasets)).spec;
    expect(qlora).toMatchObject({ quantization: { bits: 4 }, hardware: { gradient_checkpointing: true } });
    const continuous = (await buildTrainSpec({ ...request, trainer: "continuous", initAdapterPath: "adapters/office@v2" }, datasets)).spec;
    expect(continuous).toMatchObject({ init_adapter: "adapters/office@v2", settings: { learning_rate: 5e-6, epochs: 1 } });
  });

  it("takes every override", async () => {
    const overrides = {
      baseModel: "other",
      learningRate: 1e-3,
      epochs: 40,
      batchSize: 8,
      gradientAccumulationSteps: 2,
      maxLength: 128,
      warmupSteps: 5,
      maxSteps: 100,
      rank: 8,
      alpha: 8,
      dropout: 0,
      targetModules: "all-linear" as const,
      bits: 8 as const,
      augmentShare: 0.5,
      checkpointEverySteps: 50,
      gradientCheckpointing: false,
      precision: "bf16" as const,
      deviceMap: "auto",
      maxMemory: { "0": "10GB" },
      threads: 1,
      seed: 7,
    };
    const { spec } = await buildTrainSpec({ ...request, trainer: "qlora", overrides }, datasets);
    expect(spec).toMatchObject({
      base_model: "other",
      seed: 7,
      quantization: { bits: 8 },
      lora: { r: 8, alpha: 8, dropout: 0, target_modules: "all-linear" },
      checkpoint: { every_steps: 50 },
      hardware: { precision: "bf16", gradient_checkpointing: false, device_map: "auto", max_memory: { "0": "10GB" }, threads: 1 },
    });
    expect(spec.settings).toMatchObject({
      learning_rate: 1e-3,
      epochs: 40,
      batch_size: 8,
      gradient_accumulation_steps: 2,
      max_length: 128,
      warmup_steps: 5,
      max_steps: 100,
      augment_share: 0.5,
    });
  });

  it("trains on the train split alone, weighs by importance, and keeps recall and kept-out facts for evaluation", async () => {
    const { spec, files } = await buildTrainSpec({ ...request, baselineAdapterPath: "adapters/office@v2" }, datasets);
    const train = (await rowsOf(files, spec.train_path)).map((row) => TrainingRow.parse(row));
    expect(train.map(({ id }) => id)).toEqual(["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "heavy"]);
    expect(train[0]).toMatchObject({ messages: [{ role: "user", content: "Where does team 0 meet?" }], weight: 1, source: "feedback" });
    expect(train.at(-1)!.weight).toBeCloseTo(5 / 3);
    expect(spec.evaluation!.baseline_adapter).toBe("adapters/office@v2");
    expect(spec.evaluation!.sets.map(({ kind }) => kind)).toEqual(["recall", "generalisation"]);
    const recall = (await rowsOf(files, spec.evaluation!.sets[0]!.path)).map((row) => EvaluationRow.parse(row));
    expect(recall[0]).toMatchObject({ id: "r0", response: "Team 0 meets in the blue room.", group: "Team 0 meets in the blue room." });
  });

  it("sends replay and regression rows, and asks for long enough answers", async () => {
    const long = "word ".repeat(30).trim();
    const { spec, files } = await buildTrainSpec(
      {
        ...request,
        baselineAdapterPath: null,
        replay: [{ prompt: "Hello", response: "Hi." }],
        regression: [{ name: "general", items: [{ prompt: "Say it", response: long, group: "g" }] }],
      },
      datasets,
    );
    expect(await rowsOf(files, spec.replay_path!)).toEqual([
      { id: "replay-1", messages: [{ role: "user", content: "Hello" }], response: "Hi.", source: "replay" },
    ]);
    expect(spec.settings.replay_per_epoch).toBe(1);
    expect(spec.evaluation!.max_new_tokens).toBeGreaterThanOrEqual(long.length);
    expect(spec.evaluation!.sets.at(-1)).toMatchObject({ name: "general", kind: "regression" });
  });

  it("sends probes beside the evaluation, and lets their answers lengthen none", async () => {
    const probes = [{ name: "probes", items: [{ id: "p:0", prompt: "Say it", response: "word ".repeat(90).trim() }] }];
    const { spec, files } = await buildTrainSpec({ ...request, baselineAdapterPath: null, probes }, datasets);
    const { spec: without } = await buildTrainSpec({ ...request, baselineAdapterPath: null }, datasets);
    expect(spec.evaluation!.sets.at(-1)).toMatchObject({ name: "probes", kind: "probe" });
    expect(await rowsOf(files, spec.evaluation!.sets.at(-1)!.path)).toEqual([
      { id: "p:0", messages: [{ role: "user", content: "Say it" }], response: probes[0]!.items[0]!.response },
    ]);
    expect(spec.evaluation!.max_new_tokens).toBe(without.evaluation!.max_new_tokens);
  });

  it("is the same each time it is built, so that a job goes on from its checkpoint", async () => {
    const [first, second] = await Promise.all([
      buildTrainSpec({ ...request, baselineAdapterPath: null }, datasets),
      buildTrainSpec({ ...request, baselineAdapterPath: null }, datasets),
    ]);
    expect(first.spec).toEqual(second.spec);
  });

  it("carries any text whole", async () => {
    const odd = "a\u0000b\u2028c\ud83d\ude00 \ud800 </s>";
    const { spec, files } = await buildTrainSpec(
      { ...request, datasetId: "odd" },
      datasetsOf({ odd: [datasetItem("a", odd, odd), datasetItem("b", "q", "r")] }),
    );
    const rows = (await rowsOf(files, spec.train_path)) as TrainingRow[];
    expect(rows[0]!.response).toBe(odd);
    expect(rows).toHaveLength(2);
  });
});

describe("the spec of an evaluation", () => {
  it("names each set's file and each model's adapter", async () => {
    const { spec, files } = buildEvaluateSpec({
      jobId: "job-2",
      baseModel: "base",
      overrides: { threads: 1 },
      models: [
        { name: "base", adapterPath: null },
        { name: "new", adapterPath: "adapters/office@v3" },
      ],
      sets: [{ name: "all", kind: "recall", items: [{ id: "1", prompt: "Where?", response: "Here.", group: "here" }] }],
    });
    expect(EvaluateSpec.parse(spec)).toEqual(spec);
    expect(spec.models).toEqual([
      { name: "base", adapter: null },
      { name: "new", adapter: "adapters/office@v3" },
    ]);
    expect(await rowsOf(files, spec.evaluation.sets[0]!.path)).toEqual([
      { id: "1", messages: [{ role: "user", content: "Where?" }], response: "Here.", group: "here" },
    ]);
  });
});
