/** `clara-sdk/testing`: loopback stand-ins for the serving engine and the trainer, for tests without a model. */
export type { StandInAdapter } from "./adapter-slots.js";
export type { CompletionBody, ScriptedTokens } from "./completion-wire.js";
export type { StandInFault } from "./faults.js";
export {
  type StandInAnswer,
  type StandInEngine,
  type StandInEngineOptions,
  type StandInQuestion,
  startStandInEngine,
} from "./stand-in-engine.js";
export {
  type StandInOllama,
  type StandInOllamaOptions,
  type StandInOllamaQuestion,
  startStandInOllama,
} from "./stand-in-ollama.js";
export type { RecordedRequest } from "./stand-in-server.js";
export { type StandInTrainer, type StandInTrainerOptions, startStandInTrainer, type TrainerFault } from "./stand-in-trainer.js";
export {
  failingScript,
  type JobScriptOptions,
  jobScript,
  type ScriptContext,
  type ScriptedEvent,
  type TrainerScript,
} from "./trainer-script.js";
