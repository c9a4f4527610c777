/** `clara-sdk/ai-sdk`: a provider for Vercel's AI SDK, by its own OpenAI-compatible one. */
import { createOpenAICompatible, type OpenAICompatibleProvider } from "@ai-sdk/openai-compatible";
import type { ServingClient } from "../client/index.js";
import { type ClaraFetchOptions, claraFetch } from "./clara-fetch.js";

/**
 * A provider whose models CLARA answers: `auto` is routed, `name@vN` pins that adapter. The id by which feedback names an answer is its
 * response id. Needs the package `@ai-sdk/openai-compatible`.
 * @example
 * ```ts
 * import { generateText } from "ai";
 * import { createClaraProvider } from "clara-sdk/ai-sdk";
 * const provider = createClaraProvider(clara);
 * const { text, response } = await generateText({ model: provider("auto"), prompt: "Which key opens the chapel?" });
 * await clara.pipeline.addFeedback({ generationId: response.id, rating: 1 });
 * ```
 */
export function createClaraProvider(clara: { serving: ServingClient }, options: ClaraFetchOptions = {}): OpenAICompatibleProvider {
  return createOpenAICompatible({
    name: "clara",
    // never reached: the fetch answers in this process
    baseURL: "http://clara.invalid/v1",
    fetch: claraFetch(clara, options) as typeof fetch,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
}
export type { ClaraFetchOptions } from "./clara-fetch.js";
