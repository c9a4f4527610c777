import { describe, expect, onTestFinished, test } from "vitest";
import { type ClaraOptions, DatasetManager, openStore, type SearchQuery, type Store } from "../../src/index.js";
import { loadText, useFolder } from "./support/load-text.js";

const folder = useFolder();

test.each<[yaml: string, options: ClaraOptions]>([
  ["", {}],
  ["# nothing but a comment\n", {}],
  ["training:\nrouter:\n  default_adapter:\n", {}],
  ["\ufefftraining: {base_model: Qwen/Qwen3-8B}\r\n", { baseModel: "Qwen/Qwen3-8B" }],
  ["services: {training_backend: {port: 1, host: gpu}}", { runtime: { url: "http://gpu:1" } }],
  ["services: {training_backend: {port: 1, host: '::1'}}", { runtime: { url: "http://[::1]:1" } }],
  ["services: {training_backend: {enabled: true}}", { worker: true }],
  ["services: {training_backend: {max_concurrent_jobs: 3}}", { training: { maxConcurrentJobs: 3 } }],
  ["services: {model_serving: {port: 8000, engine: vllm}}", { serving: { engine: "vllm", endpoints: ["http://127.0.0.1:8000"] } }],
  [
    "services: {model_serving: {port: 11434, engine: ollama, host: box, base_model: 'qwen3:8b'}}",
    { serving: { engine: "ollama", endpoints: ["http://box:11434"], baseModel: "qwen3:8b" } },
  ],
  ["services: {model_serving: {port: 1}}", { serving: { engine: "openai-compatible", endpoints: ["http://127.0.0.1:1"] } }],
  [
    "uds3: {postgresql: {host: pg, port: 5433, database: akten, user: clara}, chromadb: {host: ch, port: 1}, neo4j: {host: gr, port: 2}}",
    { uds3: { postgres: "postgres://clara@pg:5433/akten", chroma: "http://ch:1", neo4j: { url: "neo4j://gr:2" } } },
  ],
  ["training: {default_trainer: continuous}", { pipeline: { trainer: "continuous" } }],
  [
    "training: {max_concurrent_jobs: 1, job_timeout_minutes: 90, checkpoint_interval_steps: 100, auto_cleanup_days: 7}",
    { training: { maxConcurrentJobs: 1, jobTimeoutMinutes: 90, checkpointEverySteps: 100, cleanupDays: 7 } },
  ],
  ["training: {lora: {r: 8}}", { training: { trainers: { lora: { rank: 8 } } } }],
  [
    "training: {lora: &same {r: 8, target_modules: [q_proj]}, qlora: *same}",
    { training: { trainers: { lora: { rank: 8, targetModules: ["q_proj"] }, qlora: { rank: 8, targetModules: ["q_proj"] } } } },
  ],
  [
    "gpu: {device_map: auto, gradient_checkpointing: true, fp16: true, max_memory: 10GB}",
    { training: { overrides: { deviceMap: "auto", gradientCheckpointing: true, precision: "fp16", maxMemory: { "0": "10GB" } } } },
  ],
  ["continuous_learning: {buffer_size: 900}", { pipeline: { bufferCapacity: 900 } }],
  ["continuous_learning: {quality_threshold: 0.3}", { pipeline: { reviewFrom: 0.3 } }],
  ["continuous_learning: {train_interval_seconds: 60}", { pipeline: { triggers: { timeSeconds: 60 } } }],
  ["continuous_learning: {min_batch_size: 20}", { pipeline: { triggers: { size: 20, minSamples: 20 } } }],
  ["continuous_learning: {augment_with_search: false}", { pipeline: { augmentWithSearch: false } }],
  ["continuous_learning: {enabled: true}", { startPipeline: true }],
  ["dataset: {default_search_type: keyword}", { datasets: { search: { searchTypes: ["keyword"] } } }],
  [
    "dataset: {search_weights: {vector: 1, graph: 0, keyword: 1}}",
    { datasets: { search: { weights: { vector: 1, graph: 0, keyword: 1 } } } },
  ],
  ["dataset: {quality: {min_length: 10, max_length: 20}}", { datasets: { quality: { minLength: 10, maxLength: 20 } } }],
  [
    "dataset: {quality: {min_quality_score: 0.7}}",
    { datasets: { quality: { minScore: 0.7 } }, pipeline: { preparation: { minQualityScore: 0.7 } } },
  ],
  ["dataset: {quality: {check_toxicity: true}}", {}],
  ["router: {default_adapter: office@v2}", { router: { defaultAdapter: "office@v2" } }],
  ["router: {enable_embeddings: false, enable_exploration: true}", { router: { enableEmbeddings: false, enableExploration: true } }],
  [
    "router: {thresholds: {hard_domain: 2, conf_low: 0.1, conf_high: 0.2}}",
    { router: { thresholds: { hardDomain: 2, confLow: 0.1, confHigh: 0.2 } } },
  ],
  ["metrics: {prometheus_enabled: false, grafana_enabled: false}", {}],
  ["security: {jwt_enabled: false, rate_limiting: false, https_only: false}", {}],
])("%j", async (yaml, options) => {
  expect(await loadText(yaml)).toEqual(options);
});

describe("what is switched off, or has no effect, is named", () => {
  test.each<[yaml: string, path: string, says: RegExp, options: ClaraOptions]>([
    ["services: {training_backend: {enabled: false, port: 1}}", "services.training_backend", /another process/, { worker: false }],
    ["services: {model_serving: {enabled: false, port: 1, engine: vllm}}", "services.model_serving", /the runtime/, {}],
    [
      "services: {dataset_management: {enabled: false}}\nuds3: {postgresql: {host: a}, chromadb: {host: a}, neo4j: {host: a}}",
      "uds3",
      /not connected/,
      {},
    ],
    ["continuous_learning: {enabled: false}", "continuous_learning.enabled", /pipeline\.start/, { startPipeline: false }],
    ["service: {port: 1}", "service.port", /no port/, {}],
    ["service: {workers: 4}", "service.workers", /processes/, {}],
    ["service: {name: x}", "service.name", /label/, {}],
    ["services: {ingestion_backend: {port: 1}}", "services.ingestion_backend", /no port/, {}],
    ["gpu: {fp16: false}", "gpu.fp16", /bf16/, {}],
    ["metrics: {prometheus_port: 9310}", "metrics.prometheus_port", /no port/, {}],
    ["metrics: {grafana_enabled: true}", "metrics.grafana_enabled", /dashboard/, {}],
    ["system: {environment: production}", "system.environment", /label/, {}],
  ])("%j", async (yaml, path, says, options) => {
    const { notes, ...loaded } = await loadText(yaml);
    expect(loaded).toEqual(options);
    expect(notes).toEqual([{ path, line: expect.any(Number), column: expect.any(Number), message: expect.stringMatching(says) }]);
  });
});

test("protection that nothing here gives is refused, unless the host says that it gives it", async () => {
  const yaml = "security: {jwt_enabled: true, rate_limiting: true, https_only: true}";
  await expect(loadText(yaml, { enforcedByHost: ["jwt_enabled"] })).rejects.toMatchObject({
    details: { problems: [{ path: "security.rate_limiting" }, { path: "security.https_only" }] },
  });
  const { notes } = await loadText(yaml, { enforcedByHost: ["jwt_enabled", "rate_limiting", "https_only"] });
  expect(notes?.map(({ path }) => path)).toEqual(["security.jwt_enabled", "security.rate_limiting", "security.https_only"]);
});

async function opened(name: string): Promise<Store> {
  const store = await openStore({ database: { dataDir: folder.path(name) } });
  onTestFinished(() => store.close());
  return store;
}

test("without the toxicity check a coarse word is let through", async () => {
  const store = await opened("quality");
  const sample = { prompt: "What does the report say about the door?", response: "The door is broken, and this is all fucking nonsense." };
  const codes = async (yaml: string) => {
    const { datasets } = await loadText(yaml);
    const { checks } = await new DatasetManager({ store, ...datasets }).quality.check(sample);
    return checks.filter(({ passed }) => !passed).map(({ name }) => name);
  };
  expect(await codes("dataset: {quality: {check_toxicity: true}}")).toEqual(["profanity"]);
  expect(await codes("dataset: {quality: {check_toxicity: false}}")).toEqual([]);
});

test("the search's defaults also reach databases of one's own", async () => {
  const store = await opened("search");
  const asked: SearchQuery[] = [];
  const documents = {
    search: async (query: SearchQuery) => {
      asked.push(query);
      return [];
    },
    addDocuments: async () => ({ added: 0, skipped: 0, rejected: [] }),
    removeDocuments: async () => 0,
  };
  const { datasets } = await loadText("dataset: {default_search_type: vector, search_weights: {vector: 1, graph: 0, keyword: 0}}");
  const manager = new DatasetManager({ store, documents, ...datasets });
  const weights = { vector: 0, graph: 0, keyword: 1 };
  await manager.search({ queryText: "key" });
  await manager.search({ queryText: "key", searchTypes: ["keyword"], weights });
  expect(asked).toEqual([
    { queryText: "key", searchTypes: ["vector"], weights: { vector: 1, graph: 0, keyword: 0 } },
    { queryText: "key", searchTypes: ["keyword"], weights },
  ]);
});
