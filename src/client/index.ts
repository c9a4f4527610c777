/** The serving room: answers from engines, streamed, batched, retried, and adapters loaded while they serve. */
export type { LoadedAdapter, ServedAdapter, UnloadedAdapter } from "./adapter-placement.js";
export type { BatchOutcome, BatchProgress } from "./generation/batch.js";
export type { GenerationStream } from "./generation/generation-stream.js";
export type { FetchedResponse, FetchLike } from "./http/transport.js";
export {
  DEFAULTS as SERVING_DEFAULTS,
  type EngineKind,
  type ResolvedServingOptions,
  type ServingClientOptions,
  type ServingRetries,
  type ServingTimeouts,
} from "./options.js";
export type { AdapterDirectory, GenerationRecorder, RecordedGeneration, RequestRouter } from "./ports.js";
export { type EndpointHealth, ServingClient } from "./serving-client.js";
