import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installRuntime, LocalRuntime, type RuntimeEnvironment } from "../../src/runtime/index.js";
import type { Store } from "../../src/store/index.js";
import { LocalProcessBackend, RuntimeBackend, type TrainingBackend, TrainingClient } from "../../src/training/index.js";
import type { JobInput } from "../../src/types/job.js";
import { createHarness } from "../setup/index.js";
import { datasetsOf, officeItems } from "./support/datasets.js";
import { collect, until } from "./support/until.js";

const TINY_BASE = "gpu-runtime/models/tiny-base";
const env = { OMP_NUM_THREADS: "1" };

describe.each(["runtime over HTTP", "local process"] as const)("training the tiny base on the %s", (kind) => {
  const harness = createHarness("embedded");
  let root: string;
  let store: Store;
  let environment: RuntimeEnvironment;
  let runtime: LocalRuntime | null = null;
  let backend: TrainingBackend;
  let training: TrainingClient;
  const job: JobInput = { datasetId: "office", configName: "office", overrides: { learningRate: 1e-3, epochs: 2, threads: 1 } };

  beforeAll(async () => {
    environment = await installRuntime();
    root = await mkdtemp(join(tmpdir(), "clara-runtime-"));
    store = await harness.open();
    if (kind === "local process") backend = new LocalProcessBackend({ root, environment, env });
    else {
      runtime = new LocalRuntime({ root, models: [TINY_BASE], environment, env });
      backend = new RuntimeBackend(runtime);
    }
    training = new TrainingClient({
      store,
      backend,
      datasets: datasetsOf({ office: officeItems() }),
      baseModel: `${process.cwd()}/${TINY_BASE}`,
    });
    await training.startWorker();
  }, 300_000);

  afterAll(async () => {
    await training.close();
    await runtime?.close();
    await harness.reset();
    await rm(root, { recursive: true, force: true });
  });

  it("makes an adapter, and compares it with what serves now", { timeout: 300_000 }, async () => {
    const created = await training.createJob({
      ...job,
      trainer: "lora",
      baselineAdapterPath: null,
      replay: [{ prompt: "Hello", response: "Hello." }],
      regression: [
        {
          name: "general",
          items: [
            { prompt: "Hello", response: "Hello." },
            { prompt: "Thanks", response: "You are welcome." },
          ],
        },
      ],
      overrides: { ...job.overrides, epochs: 6 },
    });
    const events = await collect(training.watch(created.id));
    const done = await training.getJob(created.id);
    expect(done.error).toBeNull();
    expect(done.status).toBe("completed");
    expect(done.adapterName).toBe("office@v1");
    expect(existsSync(join(done.adapterPath!, "adapter_model.safetensors"))).toBe(true);
    expect(done.result!.loss_last).toBeLessThan(done.result!.loss_first);
    expect(done.result!.samples).toBeGreaterThanOrEqual(8);
    expect(done.evaluation!.map(({ name, adapter }) => [name, adapter === null])).toEqual([
      ["baseline", true],
      ["candidate", false],
    ]);
    expect(done.evaluation![0]!.sets.map(({ name, kind: setKind, count }) => [name, setKind, count])).toEqual([
      ["recall", "recall", 2],
      ["generalisation", "generalisation", 1],
      ["general", "regression", 2],
    ]);
    const losses = events.flatMap((event) => (event.type === "metrics_update" ? [event.metrics.loss!] : []));
    expect(losses.length).toBe(done.totalSteps);
    expect(await readdir(join(root, "datasets", created.id))).toEqual([]);
  });

  // a process of its own takes its time to import: what does not differ is shown on the runtime alone
  const itOnRuntime = it.skipIf(kind === "local process");

  itOnRuntime("goes on from the adapter that serves now", { timeout: 300_000 }, async () => {
    const first = (await training.listJobs({ configName: "office", status: "completed" })).at(-1)!;
    const { id } = await training.createJob({
      ...job,
      configName: "next",
      trainer: "continuous",
      initAdapterPath: first.adapterPath!,
      overrides: { threads: 1 },
    });
    const done = await training.waitFor(id);
    expect(done.error).toBeNull();
    expect(done).toMatchObject({ status: "completed", totalEpochs: 1 });
    expect(done.metrics.learningRate).toBeLessThanOrEqual(5e-6);
  });

  itOnRuntime("takes the next version where the runtime has an adapter of that name from elsewhere", { timeout: 300_000 }, async () => {
    await mkdir(join(root, "adapters", "taken@v1"), { recursive: true });
    await writeFile(join(root, "adapters", "taken@v1", "adapter_config.json"), "{}");
    const { id, adapterName } = await training.createJob({ ...job, configName: "taken", overrides: { ...job.overrides, maxSteps: 2 } });
    expect(adapterName).toBe("taken@v1");
    const done = await training.waitFor(id);
    expect(done.error).toBeNull();
    expect(done).toMatchObject({ status: "completed", adapterName: "taken@v2", result: { adapter_name: "taken@v2" } });
    expect((await training.createJob({ ...job, configName: "taken", overrides: { ...job.overrides, maxSteps: 2 } })).adapterName).toBe(
      "taken@v3",
    );
  });

  itOnRuntime("evaluates finished adapters through the same queue", { timeout: 300_000 }, async () => {
    const first = (await training.listJobs({ configName: "office", status: "completed" })).at(-1)!;
    const items = officeItems().map(({ sample, group }) => ({ id: sample.id, prompt: sample.prompt, response: sample.response, group }));
    const [base, adapter] = await training.evaluate({
      models: [
        { name: "base", adapterPath: null },
        { name: "office", adapterPath: first.adapterPath },
      ],
      sets: [{ name: "all", kind: "recall", items }],
    });
    expect(base!.sets[0]!.items.map(({ id }) => id)).toEqual(items.map(({ id }) => id));
    expect(adapter!.sets[0]!.perplexity).toBeLessThan(base!.sets[0]!.perplexity);
  });

  it("ends the trainer within two seconds of a cancel, keeps its checkpoint through a pause, and goes on from it", {
    timeout: 300_000,
  }, async () => {
    const { id } = await training.createJob({
      ...job,
      configName: "long",
      overrides: { ...job.overrides, epochs: 2000, checkpointEverySteps: 5 },
    });
    const trains = async () => (await training.getJob(id)).step >= 12;
    await until("some steps", trains, 200_000);
    const began = performance.now();
    expect((await training.pauseJob(id)).status).toBe("paused");
    expect(performance.now() - began).toBeLessThan(2500);
    const paused = await training.getJob(id);
    await training.resumeJob(id);
    await until("more steps", async () => (await training.getJob(id)).step > paused.step, 200_000);
    const { rows } = await store.pool.query("select event from clara.training_job_events where job_id = $1 order by sequence", [id]);
    const steps = rows.flatMap(({ event }) => (event.type === "metrics_update" ? [event.step as number] : []));
    const again = steps.findIndex((step, index) => index > 0 && step <= steps[index - 1]!);
    // it repeats at most what came after the last checkpoint, never the whole
    expect(again === -1 ? 6 : steps[again]).toBeGreaterThan(5);
    const cancelling = performance.now();
    expect((await training.cancelJob(id)).status).toBe("cancelled");
    expect(performance.now() - cancelling).toBeLessThan(2500);
  });

  itOnRuntime("says what is wrong with a model that is none, and with an adapter that is none", { timeout: 300_000 }, async () => {
    const wrongModel = await training.createJob({
      ...job,
      configName: "wrong",
      overrides: { ...job.overrides, baseModel: `${root}/no-such-model` },
    });
    expect(await training.waitFor(wrongModel.id)).toMatchObject({ status: "failed", attempt: 1, error: { code: "base_model_invalid" } });
    const wrongAdapter = await training.createJob({
      ...job,
      configName: "wrong",
      trainer: "continuous",
      initAdapterPath: "adapters/none@v1",
    });
    expect(await training.waitFor(wrongAdapter.id)).toMatchObject({ status: "failed", attempt: 1, error: { code: "adapter_invalid" } });
    const outside = await training.createJob({ ...job, configName: "wrong", trainer: "continuous", initAdapterPath: "../../etc" });
    expect(await training.waitFor(outside.id)).toMatchObject({ status: "failed", attempt: 1, error: { code: "path_outside_root" } });
  });

  it("says what it can do", { timeout: 60_000 }, async () => {
    expect(await backend.capabilities()).toMatchObject({ protocol: 1, trainers: expect.arrayContaining(["lora", "continuous"]) });
  });
});
