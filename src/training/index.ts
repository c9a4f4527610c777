export type { EvaluationSetInput } from "./build-spec.js";
export type { DatasetSource, TrainingClientOptions, TrainingDefaults } from "./client-options.js";
export type { JobFilter } from "./job-list.js";
export { LocalProcessBackend, type LocalProcessBackendOptions } from "./local-process-backend.js";
export { RuntimeBackend } from "./runtime-backend.js";
export { TRAINER_DEFAULTS } from "./trainer-defaults.js";
export { type BackendRunOptions, DETACH, type TrainingBackend, type TrainingFile } from "./training-backend.js";
export { TrainingClient } from "./training-client.js";
export type { PromptPair } from "./training-files.js";
