import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RuntimeEnvironment, tinyBaseModel } from "../../../src/runtime/index.js";
import { LocalProcessBackend, TrainingClient } from "../../../src/training/index.js";
import type { AdapterIdentity } from "../../../src/types/adapter.js";
import { createHarness } from "../../setup/index.js";
import { datasetItem, datasetsOf } from "../../training/support/datasets.js";

/** An adapter that was really trained. */
export interface TrainedAdapter {
  id: string;
  path: string;
  identity: AdapterIdentity;
}

const PLACES = ["the blue room", "the red room", "floor four", "the old hall", "the north wing", "room nine", "the cellar", "the garden"];

/** Trains small adapters of the tiny base in `root/adapters`, each on facts of its own. */
export async function trainAdapters(names: readonly string[], environment: RuntimeEnvironment, root?: string): Promise<TrainedAdapter[]> {
  const folder = root ?? (await mkdtemp(join(tmpdir(), "clara-adapters-")));
  const harness = createHarness("embedded");
  const store = await harness.open();
  const sets = names.map((name, turn) => {
    const answerOf = (team: number) => `Team ${team} meets in ${PLACES[(team + 3 * turn) % PLACES.length]}.`;
    return [name, PLACES.map((_, team) => datasetItem(`${name}-${team}`, `Where does team ${team} meet?`, answerOf(team)))] as const;
  });
  const training = new TrainingClient({
    store,
    backend: new LocalProcessBackend({ root: folder, environment, env: { OMP_NUM_THREADS: "1" } }),
    datasets: datasetsOf(Object.fromEntries(sets)),
    baseModel: tinyBaseModel(),
  });
  try {
    await training.startWorker();
    const overrides = { learningRate: 2e-3, epochs: 30, targetModules: "all-linear" as const, dropout: 0, threads: 1 };
    const jobs = await Promise.all(names.map((name) => training.createJob({ datasetId: name, configName: name, overrides })));
    const adapters: TrainedAdapter[] = [];
    for (const { id } of jobs) {
      const { error, result, adapterName, adapterPath } = await training.waitFor(id);
      if (!result?.fingerprint) throw new Error(`training failed: ${error?.message ?? "no fingerprint"}`);
      const { base_model_sha256: baseModelSha256, rank, target_modules: targetModules, fingerprint } = result;
      adapters.push({ id: adapterName, path: adapterPath!, identity: { baseModelSha256, rank, targetModules, fingerprint } });
    }
    return adapters;
  } finally {
    await training.close();
    await harness.reset();
  }
}
