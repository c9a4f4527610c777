/** The serving room: answers from engines, streamed, batched, retried, and adapters loaded while they serve. */
export type { AdapterFiles, LoadedAdapter, ServedAdapter, UnloadedAdapter } from "./adapter-placement.js";
export type { EngineDescription, ServedModel } from "./engines/engine.js";
export type { BatchOutcome, BatchProgress } from "./generation/batch.js";
export type { GenerationStream } from "./generation/generation-stream.js";
export type { FetchedResponse, FetchLike } from "./http/transport.js";
export {
  DEFAULTS as SERVING_DEFAULTS,
  type EngineKind,
  type ResolvedServingOptions,
  type ServingClientOptions,
  type ServingHealth,
  type ServingHedging,
  type ServingRetries,
  type ServingTimeouts,
} from "./options.js";
export type { AdapterDirectory, CorrectionSource, GenerationRecorder, RecordedGeneration, RequestRouter } from "./ports.js";
export type { ProofOptions } from "./proof/prove-adapter.js";
export { type EndpointHealth, type EndpointStatus, ServingClient } from "./serving-client.js";
