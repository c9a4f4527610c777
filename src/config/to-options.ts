import type { ClaraOptions } from "../clara.js";
import type { TextClassifier } from "../datasets/index.js";
import { hostInUrl, uds3FromEnvironment } from "../uds3/from-environment.js";
import type { ConfigFile } from "./config-file.js";
import type { Environment } from "./environment.js";

/** Where services of the file listen that name no host. */
const THIS_MACHINE = "127.0.0.1";

const noProfanityCheck: TextClassifier = { name: "none", classify: async () => ({ flagged: false, score: 0 }) };

/** The file's settings as `createClara` takes them; what the file leaves open is absent, so that CLARA's defaults hold. */
export function toOptions(config: ConfigFile, environment: Environment): ClaraOptions {
  const { services, training, continuous_learning: learning, router } = config;
  const trainer = services?.training_backend;
  const options = given<ClaraOptions>({
    uds3: services?.dataset_management?.enabled === false ? undefined : uds3Of(config.uds3, environment),
    runtime: trainer?.port === undefined || trainer.enabled === false ? undefined : { url: urlOf(trainer.host, trainer.port) },
    worker: trainer?.enabled,
    baseModel: training?.base_model,
    serving: servingOf(services?.model_serving),
    training: trainingOf(config),
    startPipeline: learning?.enabled,
    pipeline: pipelineOf(config),
    datasets: datasetsOf(config.dataset),
    router: given({
      defaultAdapter: router?.default_adapter,
      enableEmbeddings: router?.enable_embeddings,
      enableExploration: router?.enable_exploration,
      thresholds: given({
        hardDomain: router?.thresholds?.hard_domain,
        confLow: router?.thresholds?.conf_low,
        confHigh: router?.thresholds?.conf_high,
      }),
    }),
  });
  return options ?? {};
}

/** By UDS3's own variables, so that there is one way to read them; only the passwords are not in `uds3` already. */
function uds3Of(uds3: ConfigFile["uds3"], environment: Environment): ClaraOptions["uds3"] {
  if (uds3 === undefined) return undefined;
  const { postgresql, chromadb, neo4j } = uds3;
  return uds3FromEnvironment({
    UDS3_POSTGRES_HOST: postgresql.host,
    UDS3_POSTGRES_PORT: postgresql.port?.toString(),
    UDS3_POSTGRES_DATABASE: postgresql.database,
    UDS3_POSTGRES_USER: postgresql.user,
    UDS3_POSTGRES_PASSWORD: environment.UDS3_POSTGRES_PASSWORD,
    UDS3_CHROMA_HOST: chromadb.host,
    UDS3_CHROMA_PORT: chromadb.port?.toString(),
    UDS3_NEO4J_HOST: neo4j.host,
    UDS3_NEO4J_PORT: neo4j.port?.toString(),
    UDS3_NEO4J_USER: neo4j.user,
    UDS3_NEO4J_PASSWORD: environment.UDS3_NEO4J_PASSWORD,
  });
}

function servingOf(serving: NonNullable<ConfigFile["services"]>["model_serving"]): ClaraOptions["serving"] {
  if (serving?.port === undefined || serving.enabled === false) return undefined;
  return {
    engine: serving.engine ?? "openai-compatible",
    endpoints: [urlOf(serving.host, serving.port)],
    ...given({ baseModel: serving.base_model }),
  };
}

function trainingOf({ training, services, gpu }: ConfigFile): ClaraOptions["training"] {
  return given({
    maxConcurrentJobs: training?.max_concurrent_jobs ?? services?.training_backend?.max_concurrent_jobs,
    jobTimeoutMinutes: training?.job_timeout_minutes,
    checkpointEverySteps: training?.checkpoint_interval_steps,
    cleanupDays: training?.auto_cleanup_days,
    overrides: given({
      deviceMap: gpu?.device_map,
      gradientCheckpointing: gpu?.gradient_checkpointing,
      precision: gpu?.fp16 ? ("fp16" as const) : undefined,
      maxMemory: gpu?.max_memory === undefined ? undefined : { "0": gpu.max_memory },
    }),
    trainers: given({ lora: loraOf(training?.lora), qlora: loraOf(training?.qlora) }),
  });
}

function loraOf(lora: NonNullable<ConfigFile["training"]>["qlora"]) {
  return given({
    rank: lora?.r,
    alpha: lora?.alpha,
    dropout: lora?.dropout,
    targetModules: lora?.target_modules,
    bits: lora?.bits,
  });
}

function pipelineOf({ continuous_learning: learning, training, dataset }: ConfigFile): ClaraOptions["pipeline"] {
  return given({
    trainer: training?.default_trainer,
    bufferCapacity: learning?.buffer_size,
    reviewFrom: learning?.quality_threshold,
    augmentWithSearch: learning?.augment_with_search,
    triggers: given({
      timeSeconds: learning?.train_interval_seconds,
      size: learning?.min_batch_size,
      minSamples: learning?.min_batch_size,
    }),
    preparation: given({ minQualityScore: dataset?.quality?.min_quality_score }),
  });
}

function datasetsOf(dataset: ConfigFile["dataset"]): ClaraOptions["datasets"] {
  const { default_search_type: type = "hybrid", search_weights: weights, quality } = dataset ?? {};
  return given({
    search: given({ searchTypes: type === "hybrid" ? undefined : [type], weights }),
    quality: given({ minLength: quality?.min_length, maxLength: quality?.max_length, minScore: quality?.min_quality_score }),
    profanity: quality?.check_toxicity === false ? noProfanityCheck : undefined,
  });
}

function urlOf(host: string | undefined, port: number): string {
  return `http://${hostInUrl(host ?? THIS_MACHINE)}:${port}`;
}

/** Without what is undefined; undefined where nothing is left. */
function given<T extends object>(options: T): T | undefined {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as T);
}
