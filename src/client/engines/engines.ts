import type { EngineKind, ResolvedServingOptions } from "../options.js";
import type { Engine } from "./engine.js";
import { OllamaEngine } from "./ollama-engine.js";
import { OpenAiEngine } from "./openai-engine.js";
import { VllmEngine } from "./vllm-engine.js";

const START_HINTS: Record<EngineKind, (baseModel: string) => string> = {
  runtime: () => "start the bundled runtime with `clara runtime up`, or give the URL where it runs.",
  vllm: (model) => `start it with \`VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve MODEL --served-model-name ${model} --enable-lora\`.`,
  ollama: (model) => `start it with \`ollama serve\` and fetch the model with \`ollama pull ${model}\`.`,
  "openai-compatible": () => "start your inference server, or give the URL where it runs.",
};

/** The engine of an option, and what is said where nobody answers. */
export function createEngine(options: ResolvedServingOptions): {
  engine: Engine;
  startHint: string;
  unavailableCode: "engine_unavailable" | "runtime_unavailable";
} {
  const settings = { baseModel: options.baseModel, headersMs: options.timeouts.headersMs, maxEventBytes: options.maxEventBytes };
  const kinds = { runtime: VllmEngine, vllm: VllmEngine, ollama: OllamaEngine, "openai-compatible": OpenAiEngine } as const;
  return {
    engine: new kinds[options.engine](settings),
    startHint: START_HINTS[options.engine](options.baseModel),
    unavailableCode: options.engine === "runtime" ? "runtime_unavailable" : "engine_unavailable",
  };
}
