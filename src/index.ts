/** The public API: one line a concept. */
export * from "./clara.js";
export * from "./client/index.js";
export * from "./config/index.js";
export * from "./datasets/index.js";
export { type CachedEmbedderOptions, cached } from "./embedders/cached-embedder.js";
export { LexicalEmbedder, type LexicalEmbedderOptions } from "./embedders/lexical-embedder.js";
export { OpenAiCompatibleEmbedder, type OpenAiCompatibleEmbedderOptions } from "./embedders/openai-compatible-embedder.js";
export { RuntimeEmbedder, type RuntimeEmbedderOptions } from "./embedders/runtime-embedder.js";
export * from "./errors.js";
export * from "./pipeline/index.js";
export * from "./router/index.js";
export * from "./runtime/index.js";
export type {
  ChangeListener,
  Database,
  Executor,
  Journal,
  JournalEntry,
  Notifications,
  Store,
  StoreCapabilities,
  StoreOptions,
  Topic,
} from "./store/index.js";
export { DEFAULT_DATA_DIR, openStore } from "./store/index.js";
export * from "./training/index.js";
export * from "./types/index.js";
