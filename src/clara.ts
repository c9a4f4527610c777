import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Pool } from "pg";
import { ServingClient, type ServingClientOptions } from "./client/index.js";
import { DatasetManager, type DatasetManagerOptions } from "./datasets/index.js";
import { LexicalEmbedder } from "./embedders/index.js";
import { ConfigurationError } from "./errors.js";
import {
  ContinuousLearningPipeline,
  CorrectionMemory,
  ExplorationOutcomes,
  GenerationLog,
  type GenerationLogOptions,
  type PipelineOptions,
} from "./pipeline/index.js";
import { AdapterRouter, type RouterSettingsInput, SqlAdapterRegistry } from "./router/index.js";
import { LocalRuntime, RemoteRuntime, type RuntimeEnvironment, tinyBaseModel } from "./runtime/index.js";
import { openStore, type Store } from "./store/index.js";
import { requireKnown } from "./support/known-options.js";
import { RuntimeBackend, TrainingClient, type TrainingDefaults } from "./training/index.js";
import type { CallOptions, Embedder, EndpointProvider, Logger } from "./types/common.js";
import type { ConfigNote } from "./types/config-note.js";
import type { Uds3, Uds3Connections, Uds3Settings } from "./uds3/index.js";
import { recoverInBackground } from "./uds3/writes/background-recovery.js";

/** Where training runs. */
export type RuntimeOptions =
  /** A runtime that is running already; `token` is its bearer token. */
  | { url: string; token?: string }
  /** A child process of this one, from the Python environment that `clara runtime install` made. */
  | { local: true; environment?: RuntimeEnvironment };

/** Options of `createClara`; every field is optional and independent of the others. */
export interface ClaraOptions {
  /** `pg.Pool` or connection string of your Postgres, or the folder of the embedded database. Default `{ dataDir: ".clara" }`. */
  database?: Pool | string | { dataDir: string };
  /**
   * Your own PostgreSQL, Chroma and Neo4j: documents are searched and written there. What a crash left half written is finished in the background, as soon as
   * all three can be reached; `logger` is told what is in the way. Default: documents are in `database`.
   */
  uds3?: Uds3Connections & Uds3Settings;
  /** Default: the local runtime. */
  runtime?: RuntimeOptions;
  /**
   * The base model that adapters are trained on: a folder, or a model hub id. Default: the tiny base model in this
   * package, which shows the loop at work and knows nothing.
   */
  baseModel?: string;
  /** How answers are asked for. Without `endpoints` the runtime itself answers. */
  serving?: Partial<Omit<ServingClientOptions, "router" | "adapters" | "recorder" | "memory" | "receiptSecret" | "logger">>;
  /**
   * Vectors for search and routing, and for feedback that says the same in other words. Default: a lexical embedder that needs no model
   * and knows no synonyms, so that reworded feedback is not looked for.
   */
  embedder?: Embedder;
  /** How search finds entities, how it fuses, and what samples must be; see `DatasetManagerOptions`. */
  datasets?: Pick<DatasetManagerOptions, "entityExtractor" | "search" | "quality" | "profanity">;
  router?: RouterSettingsInput;
  pipeline?: Partial<PipelineOptions>;
  /** Whether the pipeline's triggers run in this process from the beginning. Default false: `pipeline.start()` starts them. */
  startPipeline?: boolean;
  /** Signs the receipt of every answer, and takes feedback on an answer only with it; 16 characters or more. Default: no receipts. */
  receiptSecret?: string;
  /**
   * What is kept of served answers, and how long: `texts` is `store` (default), `hash` or `none`; `keepDays` is 30 by default; see
   * `GenerationLogOptions`.
   */
  generations?: Pick<GenerationLogOptions, "texts" | "keepDays">;
  training?: TrainingDefaults;
  /** Whether this process takes training jobs. Default true; false where `clara worker` does. */
  worker?: boolean;
  /** Folder of the local runtime's data sets, adapters and checkpoints. Default: `runtime` in the data directory. */
  runtimeDir?: string;
  logger?: Logger;
  /** What `loadConfig` read that has no effect; `logger` is told. */
  notes?: readonly ConfigNote[];
}

/** Every option, so that a misspelt one is refused. */
const KNOWN: Readonly<Record<keyof ClaraOptions, true>> = {
  database: true,
  uds3: true,
  runtime: true,
  baseModel: true,
  serving: true,
  embedder: true,
  datasets: true,
  router: true,
  pipeline: true,
  startPipeline: true,
  receiptSecret: true,
  generations: true,
  training: true,
  worker: true,
  runtimeDir: true,
  logger: true,
  notes: true,
};

/** The four classes and the training client, wired together. */
export interface Clara extends AsyncDisposable {
  readonly serving: ServingClient;
  readonly router: AdapterRouter;
  readonly datasets: DatasetManager;
  readonly pipeline: ContinuousLearningPipeline;
  readonly training: TrainingClient;
  /** Users' corrections that no adapter has learnt yet; `generate({ …, memory: true })` uses them. */
  readonly memory: CorrectionMemory;
  readonly store: Store;
  /** Where `uds3` was given: for `setup`, `recover` and answers that name what they lack. */
  readonly uds3: Uds3 | undefined;
  /** The runtime that trains, and by default also answers. */
  readonly runtime: EndpointProvider;
  /**
   * Stops the pipeline and the worker, ends the local runtime and closes what was opened here.
   * @example
   * ```ts
   * const clara = await createClara();
   * await clara.close({ graceMs: 5_000 });
   * ```
   */
  close(options?: CloseOptions): Promise<void>;
}

/** How long `close` lets running work end by itself. */
export interface CloseOptions {
  /** Milliseconds for each of runtime, requests and jobs. Default: each one's own. */
  graceMs?: number;
}

type Closer = (options?: CloseOptions) => Promise<void>;

/**
 * Opens the store and wires the classes. Nothing is trained and no process is started until it is needed.
 * @throws ConfigurationError `config_invalid`; StorageError `store_locked`, `store_unavailable`, `migration_failed`.
 * @example
 * ```ts
 * await using clara = await createClara();
 * const reply = await clara.serving.generate({ prompt: "Which key opens the chapel?" });
 * await clara.pipeline.addFeedback({ generationId: reply.id, rating: -1, correction: "You need key B12 for the chapel." });
 * ```
 */
export async function createClara(options: ClaraOptions = {}, callOptions: CallOptions = {}): Promise<Clara> {
  requireKnown("createClara", options, KNOWN);
  const { logger } = options;
  const database = options.database ?? { dataDir: ".clara" };
  const baseModel = options.baseModel ?? tinyBaseModel();
  const { endpoints, engine } = options.serving ?? {};
  if (endpoints?.length === 0 || (endpoints === undefined && engine !== undefined && engine !== "runtime")) {
    throw new ConfigurationError(
      "config_invalid",
      "serving.endpoints is empty: name at least one engine, for example http://127.0.0.1:8000/v1.",
    );
  }
  const store = await openStore({ database, logger, signal: callOptions.signal });
  const closers: Closer[] = [() => store.close()];
  try {
    const embedder = options.embedder ?? new LexicalEmbedder();
    const runtimeDir = resolve(options.runtimeDir ?? join(store.dataDir ?? ".clara", "runtime"));
    const runtime = openRuntime(options.runtime ?? { local: true }, {
      root: runtimeDir,
      model: endpoints ? undefined : baseModel,
      baseModel,
      logger,
    });
    if ("close" in runtime) closers.unshift((options) => runtime.close(options));

    const registry = new SqlAdapterRegistry({ store });
    const router = new AdapterRouter({
      registry,
      embedder,
      outcomes: new ExplorationOutcomes({ store }),
      settings: options.router,
      logger,
    });
    closers.unshift(() => router.close());
    const uds3 = options.uds3 && (await openUds3(options.uds3, { store, embedder, logger }));
    if (uds3) {
      closers.unshift(() => uds3.close());
      closers.unshift(recoverInBackground(uds3, logger));
    }
    const datasets = new DatasetManager({
      ...options.datasets,
      store,
      embedder,
      documents: uds3,
      references: datasetReferences(store),
      logger,
    });
    const generations = new GenerationLog({ store, logger, ...options.generations });
    closers.unshift(() => generations.close());
    const memory = new CorrectionMemory({ store, pipeline: options.pipeline?.name, logger });
    closers.unshift(() => memory.close());
    const serving = new ServingClient({
      ...options.serving,
      ...(endpoints ? { endpoints } : { engine: "runtime", endpoints: [runtime] }),
      router,
      adapters: router,
      recorder: generations,
      memory,
      receiptSecret: options.receiptSecret,
      logger,
    });
    closers.unshift((options) => serving.close(options));
    const training = new TrainingClient({
      store,
      backend: new RuntimeBackend(runtime),
      datasets,
      baseModel,
      defaults: options.training,
      logger,
    });
    closers.unshift((options) => training.close(options));
    const pipeline = new ContinuousLearningPipeline({
      store,
      datasets,
      training,
      router,
      serving,
      generations,
      embedder: options.embedder,
      options: {
        logger,
        erasureLog: join(runtimeDir, "erasures.jsonl"),
        ...options.pipeline,
        firewall: { receiptSecret: options.receiptSecret, ...options.pipeline?.firewall },
      },
    });
    closers.unshift(() => pipeline.close());

    await router.refresh();
    await pipeline.recover();
    if (options.worker !== false) await training.startWorker();
    if (options.startPipeline) await pipeline.start();
    if (options.notes?.length) logger?.warn({ notes: options.notes }, "the configuration has settings without effect here");

    let closing: Promise<void> | undefined;
    const close = (closeOptions?: CloseOptions): Promise<void> => {
      closing ??= closeAll(closers, closeOptions);
      return closing;
    };
    const parts = { serving, router, datasets, pipeline, training, memory, store, uds3, runtime };
    return { ...parts, close, [Symbol.asyncDispose]: () => close() };
  } catch (error) {
    await closeAll(closers).catch((closeError: unknown) => logger?.error({ error: closeError }, "closing after a failed start"));
    throw error;
  }
}

function openRuntime(
  options: RuntimeOptions,
  local: { root: string; model: string | undefined; baseModel: string; logger: Logger | undefined },
): RemoteRuntime | LocalRuntime {
  if ("url" in options) return new RemoteRuntime(options);
  const { root, model, baseModel, logger } = local;
  return new LocalRuntime({ root, model, models: existsSync(baseModel) ? [baseModel] : [], environment: options.environment, logger });
}

/** Loaded only where it is asked for: its clients are optional. */
async function openUds3(
  options: Uds3Connections & Uds3Settings,
  parts: { store: Store; embedder: Embedder; logger: Logger | undefined },
): Promise<Uds3> {
  const { Uds3 } = await import("./uds3/index.js");
  return new Uds3({ ...options, ...parts });
}

/** Jobs and cycles that a data set belongs to; one with any cannot be deleted. */
function datasetReferences(store: Store): (datasetId: string) => Promise<string[]> {
  return async (datasetId) => {
    const jobs = await store.db.selectFrom("training_jobs").select("id").where("dataset_id", "=", datasetId).execute();
    const cycles = await store.db.selectFrom("cycles").select("id").where("dataset_id", "=", datasetId).execute();
    return [...jobs.map(({ id }) => `training job ${id}`), ...cycles.map(({ id }) => `cycle ${id}`)];
  };
}

/** Closes in the given order; goes on after a failure and throws the first one at the end. */
async function closeAll(closers: readonly Closer[], options?: CloseOptions): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closers) {
    try {
      await close(options);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
