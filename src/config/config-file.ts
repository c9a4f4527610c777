import { z } from "zod";
import { isHost } from "../uds3/from-environment.js";

const port = z.number().int().min(1).max(65_535);
const host = z.string().refine(isHost, "is no host: give a name or an address, without port and path");
const count = z.number().int().min(1);
const share = z.number().min(0).max(1);
const weight = z.number().min(0);
const label = z.string().min(1);

/** A stand-alone service of the plan that CLARA has no process for. */
const standAlone = z.strictObject({ enabled: z.boolean(), port }).partial();

const lora = z
  .strictObject({
    r: z.number().int().min(1).max(512),
    alpha: z.number().positive(),
    dropout: z.number().min(0).max(0.9),
    target_modules: z.array(label).min(1),
  })
  .partial();

const memory = z.string().regex(/^\d+(\.\d+)? ?[KMGT]i?B$/i, "is no amount of memory: write it like 10GB");

/** Every section of the file, as it is written there; docs/guides/configuration.md says what each key does. */
export const SECTIONS = {
  system: z.strictObject({ name: label, environment: z.enum(["development", "staging", "production"]) }).partial(),
  service: z.strictObject({ name: label, port, workers: count }).partial(),
  services: z
    .strictObject({
      main_backend: standAlone,
      ingestion_backend: standAlone,
      training_backend: z.strictObject({ enabled: z.boolean(), host, port, max_concurrent_jobs: count }).partial(),
      dataset_management: standAlone,
      model_serving: z
        .strictObject({
          enabled: z.boolean(),
          host,
          port,
          engine: z.enum(["ollama", "vllm", "runtime", "openai-compatible"]),
          base_model: label,
        })
        .partial(),
    })
    .partial(),
  uds3: z.strictObject({
    postgresql: z.strictObject({ host, port: port.optional(), database: label.optional(), user: label.optional() }),
    chromadb: z.strictObject({ host, port: port.optional() }),
    neo4j: z.strictObject({ host, port: port.optional(), user: label.optional() }),
  }),
  training: z
    .strictObject({
      default_trainer: z.enum(["lora", "qlora", "continuous"]),
      base_model: label,
      max_concurrent_jobs: count,
      job_timeout_minutes: z.number().positive(),
      checkpoint_interval_steps: count,
      auto_cleanup_days: z.number().positive(),
      lora,
      qlora: lora.extend({ bits: z.union([z.literal(4), z.literal(8)]).optional() }),
    })
    .partial(),
  gpu: z.strictObject({ device_map: label, gradient_checkpointing: z.boolean(), fp16: z.boolean(), max_memory: memory }).partial(),
  continuous_learning: z
    .strictObject({
      enabled: z.boolean(),
      buffer_size: count,
      quality_threshold: share,
      train_interval_seconds: count,
      min_batch_size: count,
      augment_with_search: z.boolean(),
    })
    .partial(),
  dataset: z
    .strictObject({
      default_search_type: z.enum(["hybrid", "vector", "graph", "keyword"]),
      search_weights: z.strictObject({ vector: weight, graph: weight, keyword: weight }),
      quality: z
        .strictObject({ min_length: z.number().int().min(0), max_length: count, min_quality_score: share, check_toxicity: z.boolean() })
        .partial(),
    })
    .partial(),
  router: z
    .strictObject({
      default_adapter: label,
      enable_embeddings: z.boolean(),
      enable_exploration: z.boolean(),
      thresholds: z.strictObject({ hard_domain: z.number().positive(), conf_low: share, conf_high: share }).partial(),
    })
    .partial(),
  metrics: z.strictObject({ prometheus_enabled: z.boolean(), prometheus_port: port, grafana_enabled: z.boolean() }).partial(),
  security: z.strictObject({ jwt_enabled: z.boolean(), rate_limiting: z.boolean(), https_only: z.boolean() }).partial(),
} as const;

export type SectionName = keyof typeof SECTIONS;

/** The file's content; what it leaves open is absent. */
export type ConfigFile = { [Name in SectionName]?: z.infer<(typeof SECTIONS)[Name]> };

const FILE = z.strictObject(SECTIONS);

/** The schema of a key, without its optionality; undefined where there is no such key. */
export function schemaAt(path: readonly PropertyKey[]): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType | undefined = FILE;
  for (const key of path) {
    if (!(schema instanceof z.ZodObject)) return undefined;
    const shape: Record<PropertyKey, z.core.$ZodType> = schema.shape;
    schema = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (schema instanceof z.ZodOptional) schema = schema.unwrap();
  }
  return schema;
}

/** The keys that may stand below a key. */
export function keysAt(path: readonly PropertyKey[]): string[] {
  const schema = schemaAt(path);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** Paths of all keys. */
export const ALL_PATHS: readonly string[] = pathsBelow([]);

function pathsBelow(path: readonly string[]): string[] {
  return keysAt(path).flatMap((key) => [[...path, key].join("."), ...pathsBelow([...path, key])]);
}
