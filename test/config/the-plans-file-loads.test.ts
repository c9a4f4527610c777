import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type ClaraOptions, createClara, type Logger, loadConfig } from "../../src/index.js";
import { useFolder } from "./support/load-text.js";

const folder = useFolder();
const file = fileURLToPath(new URL("fixtures/system_config.yaml", import.meta.url));

const options: ClaraOptions = {
  uds3: {
    postgres: "postgres://192.168.178.94:5432/postgres",
    chroma: "http://192.168.178.94:8000",
    neo4j: { url: "neo4j://192.168.178.94:7687" },
  },
  runtime: { url: "http://127.0.0.1:45680" },
  worker: true,
  serving: { engine: "ollama", endpoints: ["http://127.0.0.1:45682"] },
  training: {
    maxConcurrentJobs: 2,
    trainers: {
      lora: { rank: 16, alpha: 32, dropout: 0.1, targetModules: ["q_proj", "v_proj", "k_proj", "o_proj"] },
      qlora: { rank: 16, alpha: 32, dropout: 0.1, bits: 4 },
    },
  },
  startPipeline: true,
  pipeline: {
    trainer: "qlora",
    bufferCapacity: 500,
    reviewFrom: 0,
    augmentWithSearch: true,
    triggers: { timeSeconds: 300, size: 50, minSamples: 50 },
    preparation: { minQualityScore: 0.5 },
  },
  datasets: {
    search: { weights: { vector: 0.5, graph: 0.3, keyword: 0.2 } },
    quality: { minLength: 50, maxLength: 2048, minScore: 0.5 },
  },
  router: {
    defaultAdapter: "base_default_adapter",
    enableEmbeddings: false,
    enableExploration: false,
    thresholds: { hardDomain: 1.5, confLow: 0.55, confHigh: 0.85 },
  },
};

test("the plan's system_config.yaml is understood whole, and what has no effect is named with its line", async () => {
  const { notes, ...loaded } = await loadConfig(file, { environment: {} });
  expect(loaded).toEqual(options);
  expect(notes?.map(({ path, line }) => [path, line])).toEqual([
    ["system.name", 3],
    ["system.environment", 4],
    ["services.main_backend", 7],
    ["services.ingestion_backend", 11],
    ["services.dataset_management", 20],
    ["metrics.prometheus_enabled", 93],
    ["metrics.prometheus_port", 94],
  ]);
});

test("createClara takes it: the triggers run, feedback is accepted, and the logger hears what has no effect", async () => {
  const warnings: object[] = [];
  const logger: Logger = { debug() {}, info() {}, warn: (data) => warnings.push(data), error: (data) => warnings.push(data) };
  const loaded = await loadConfig(file, { environment: {} });
  await using clara = await createClara({ ...loaded, database: { dataDir: folder.path("data") }, logger });
  expect(clara.pipeline.status().isRunning).toBe(true);
  expect(clara.uds3).toBeDefined();
  expect(clara.router.status().settings.thresholds).toEqual(options.router?.thresholds);
  expect(clara.datasets.quality.minScore).toBe(0.5);
  const receipt = await clara.pipeline.addFeedback({
    prompt: "Which key opens the chapel?",
    response: "I do not know that yet.",
    rating: -1,
    correction: "You need key B12 for the chapel.",
  });
  expect(receipt.status).toBe("accepted");
  expect(warnings).toContainEqual({ notes: loaded.notes });
  // The plan's default adapter is not registered: the base model answers, and the settings can still be changed.
  expect(warnings).toContainEqual({ adapterId: "base_default_adapter" });
  const settings = await clara.router.configure({ thresholds: { confHigh: 0.9 } });
  expect(settings.thresholds.confHigh).toBe(0.9);
  await expect(clara.router.configure({ defaultAdapter: "no-such@v1" })).rejects.toMatchObject({ code: "adapter_not_found" });
});
