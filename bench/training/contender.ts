/** One contender of the training bench: trains the same small adapter and prints the seconds it took. Run by bench.ts. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { DatasetManager } from "../../src/datasets/index.js";
import { childEnvironment } from "../../src/runtime/child-environment.js";
import { findRuntime, tinyBaseModel } from "../../src/runtime/index.js";
import { openStore } from "../../src/store/index.js";
import { LocalProcessBackend, type TrainingBackend, TrainingClient } from "../../src/training/index.js";
import type { RuntimeSpec } from "../../src/types/runtime-protocol.js";

const STEPS = 60;
const scratch = await mkdtemp(join(tmpdir(), "clara-bench-"));
const root = join(scratch, "runtime");
const environment = await findRuntime();
if (!environment) throw new Error("run `clara runtime install` first");
const store = await openStore({ database: { dataDir: join(scratch, "data") } });

/** Runs one job of fifty samples on a back end; the seconds from asking for it to its end. */
async function trainOn(backend: TrainingBackend): Promise<number> {
  const datasets = new DatasetManager({ store });
  const dataset = await datasets.create({
    name: "bench",
    samples: Array.from({ length: 50 }, (_, index) => ({
      id: `sample-${index}`,
      prompt: `Which key opens room ${index} of the north wing?`,
      response: `You need key ${"ABCDE"[index % 5]}${index + 10} for room ${index} of the north wing.`,
      objective: "imitate" as const,
      rating: 1,
      importance: 3,
      domain: "bench",
      source: "bench",
      qualityScore: 1,
    })),
  });
  const training = new TrainingClient({ store, backend, datasets, baseModel: tinyBaseModel() });
  try {
    await training.startWorker();
    const started = performance.now();
    const job = await training.createJob({
      datasetId: dataset.id,
      configName: "bench",
      overrides: {
        learningRate: 1e-3,
        epochs: 1_000,
        maxSteps: STEPS,
        targetModules: "all-linear",
        precision: "fp32",
        gradientCheckpointing: false,
        threads: 1,
      },
    });
    const ended = await training.waitFor(job.id);
    if (ended.status !== "completed") throw new Error(`${ended.status}: ${ended.error?.message}`);
    return (performance.now() - started) / 1000;
  } finally {
    await training.close();
  }
}

/** The very spec that the SDK would run, given to the trainer without the SDK. */
async function trainAlone(python: string, sourceFolder: string): Promise<number> {
  const local = new LocalProcessBackend({ root });
  let spec: RuntimeSpec | undefined;
  const recording: TrainingBackend = {
    name: "recording",
    capabilities: (options) => local.capabilities(options),
    run: async (given, files) => {
      for (const file of files) {
        const path = join(root, file.path);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, file.content);
      }
      spec = given;
      throw Object.assign(new Error("recorded"), { code: "internal" });
    },
  };
  await trainOn(recording).catch((error: Error) => {
    if (!spec) throw error;
  });
  const specFile = join(scratch, "spec.json");
  await writeFile(specFile, JSON.stringify(spec));
  const started = performance.now();
  const args = ["-m", "clara_runtime.train", "--spec", specFile, "--root", root];
  // what the SDK gives, so that only the SDK makes the difference
  const env = childEnvironment({ PYTHONUNBUFFERED: "1", TOKENIZERS_PARALLELISM: "false" });
  await execa(python, args, { cwd: sourceFolder, stdio: "ignore", extendEnv: false, env });
  return (performance.now() - started) / 1000;
}

try {
  const seconds =
    process.argv[2] === "clara"
      ? await trainOn(new LocalProcessBackend({ root }))
      : await trainAlone(environment.python, environment.sourceFolder);
  process.stdout.write(`${JSON.stringify({ seconds })}\n`);
} finally {
  await store.close();
  await rm(scratch, { recursive: true, force: true });
}
