import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatasetManager } from "../../../src/datasets/index.js";
import { ContinuousLearningPipeline, GenerationLog, type PipelineOptions } from "../../../src/pipeline/index.js";
import { AdapterRouter, SqlAdapterRegistry } from "../../../src/router/index.js";
import type { Store } from "../../../src/store/index.js";
import type { Embedder, FeedbackInput } from "../../../src/types/index.js";
import { FakeServing } from "./fake-serving.js";
import { FakeTrainer } from "./fake-trainer.js";

/** A pipeline among its rooms: datasets and router are real, trainer and engine are stand-ins. */
export interface Rooms {
  store: Store;
  datasets: DatasetManager;
  router: AdapterRouter;
  trainer: FakeTrainer;
  serving: FakeServing;
  generations: GenerationLog;
  pipeline: ContinuousLearningPipeline;
  /** Another pipeline on the same store, as another process would have. */
  another(options?: PipelineOptions): ContinuousLearningPipeline;
}

let count = 0;

/** Builds a pipeline with a name of its own, so that suites share a database. */
export function buildRooms(
  store: Store,
  options: PipelineOptions = {},
  folder = mkdtempSync(join(tmpdir(), "clara-pipeline-")),
  embedder?: Embedder,
): Rooms {
  const datasets = new DatasetManager({ store });
  const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }) });
  const trainer = new FakeTrainer({ folder, datasets });
  const serving = new FakeServing();
  const generations = new GenerationLog({ store });
  const name = options.name ?? `pipeline-${process.pid}-${count++}`;
  const build = (more: PipelineOptions = {}) =>
    new ContinuousLearningPipeline({
      store,
      datasets,
      router,
      training: trainer,
      serving,
      generations,
      embedder,
      options: { retryDelayMs: 20, ...options, ...more, name },
    });
  return { store, datasets, router, trainer, serving, generations, pipeline: build(), another: build };
}

/** Ids of the samples of a domain that a batch may hold. */
export async function waitingIds(store: Store, domain: string): Promise<string[]> {
  const rows = await store.db
    .selectFrom("samples")
    .select("id")
    .where("domain", "=", domain)
    .where("state", "=", "waiting")
    .where("objective", "=", "imitate")
    .execute();
  return rows.map(({ id }) => id);
}

/** Hands over all, at the same time. */
export function addAll(pipeline: ContinuousLearningPipeline, inputs: readonly FeedbackInput[]) {
  return Promise.all(inputs.map((input) => pipeline.addFeedback(input)));
}
