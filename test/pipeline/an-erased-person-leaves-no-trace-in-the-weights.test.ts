import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Clara, createClara } from "../../src/clara.js";
import { tinyModelOverrides } from "../../src/cli/demo/settings.js";
import { ContinuousLearningPipeline, type PipelineOptions } from "../../src/pipeline/index.js";
import { installRuntime } from "../../src/runtime/index.js";
import type { FeedbackInput } from "../../src/types/index.js";
import { exampleFacts } from "./support/example-facts.js";
import { corrections } from "./support/facts.js";

/** A few steps on one thread; the gate asks for little, for what is shown here is not how well it learns. */
const options: PipelineOptions = {
  overrides: { ...tinyModelOverrides("lora", 1), learningRate: 2e-3, epochs: 24, batchSize: 8 },
  general: false,
  gate: { confidence: 0.5 },
};
const facts = await exampleFacts(14);
const stays = (domain: string): FeedbackInput[] => corrections(facts.slice(0, 12), { domain });
/** Facts of their own, and another phrasing of one that others gave too. */
const goes = (domain: string): FeedbackInput[] =>
  [...facts.slice(12), { prompts: ["Somebody asked me this, what do I say?"], answer: facts[0]!.answer }].flatMap((fact) =>
    corrections([fact], { domain }).map((input) => ({ ...input, subjectId: "goes" })),
  );

let folder: string;
let clara: Clara;
beforeAll(async () => {
  await installRuntime();
  folder = await mkdtemp(join(tmpdir(), "clara-erased-"));
  clara = await createClara({ database: { dataDir: folder }, pipeline: options });
}, 300_000);
afterAll(async () => {
  await clara.close();
  await rm(folder, { recursive: true, force: true });
});

const manifestOf = async (cycleId: string) => {
  const rows = await clara.store.db.selectFrom("cycle_samples").select("sample_id").where("cycle_id", "=", cycleId).execute();
  return new Set(rows.map((row) => row.sample_id));
};
const filesOf = async (adapterId: string) => {
  const { path } = await clara.router.getAdapter(adapterId);
  return Promise.all(["adapter_model.safetensors", "adapter_config.json"].map((name) => readFile(join(path, name))));
};
async function learn(pipeline: ContinuousLearningPipeline, domain: string) {
  const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
  expect(cycle.error).toBeNull();
  expect(cycle.status, JSON.stringify(cycle.gate)).toBe("promoted");
  // an honest batch is probed too, and trips nothing
  expect(cycle.gate?.reasons).toEqual(
    expect.arrayContaining(["trigger_probe", "memorisation"].map((criterion) => expect.objectContaining({ criterion, verdict: "pass" }))),
  );
  return cycle;
}

it("A47: retrained after an erasure, the manifest lacks exactly the person's rows, and the adapter has the bytes of one that never had them", {
  timeout: 600_000,
}, async () => {
  const inputs = [...stays("erased"), ...goes("erased")].toSorted((left, right) => (left.prompt! < right.prompt! ? -1 : 1));
  const theirs = new Set<string>();
  for (const input of inputs) {
    const { id, status } = await clara.pipeline.addFeedback(input);
    expect(status).toBe("accepted");
    if (input.subjectId === "goes") theirs.add(id);
  }
  const before = await learn(clara.pipeline, "erased");
  const report = await clara.pipeline.eraseSubject("goes");
  expect(report.adapters).toEqual([{ adapterId: before.adapterId, domain: "erased", action: "retired" }]);
  // what the others gave is not lost with the adapter
  expect(await clara.pipeline.ledger()).toMatchObject({ waiting: inputs.length - theirs.size, used: theirs.size, lost: 0, usedTwice: 0 });
  const after = await learn(clara.pipeline, "erased");
  expect(await manifestOf(after.id)).toEqual(new Set([...(await manifestOf(before.id))].filter((id) => !theirs.has(id))));
  expect(after.samples).toBe(before.samples - theirs.size);

  const untouched = new ContinuousLearningPipeline({
    store: clara.store,
    datasets: clara.datasets,
    router: clara.router,
    training: clara.training,
    serving: clara.serving,
    options: { ...options, name: "untouched" },
  });
  for (const input of stays("untouched")) expect((await untouched.addFeedback(input)).status).toBe("accepted");
  const never = await learn(untouched, "untouched");
  const [bytes, config] = await filesOf(never.adapterId as string);
  const [retrained, retrainedConfig] = await filesOf(after.adapterId as string);
  expect(retrained!.equals(bytes!)).toBe(true);
  expect(retrainedConfig!.equals(config!)).toBe(true);
  // the bytes depend on what is learnt: with the person's rows they were others
  expect((await filesOf(before.adapterId as string))[0]!.equals(bytes!)).toBe(false);
  await untouched.close();
});
