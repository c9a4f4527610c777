import type { CallOptions, Embedder, EndpointProvider } from "../types/common.js";
import { OpenAiCompatibleEmbedder, type OpenAiCompatibleEmbedderOptions } from "./openai-compatible-embedder.js";

/** Options of `RuntimeEmbedder`. */
export interface RuntimeEmbedderOptions extends Pick<OpenAiCompatibleEmbedderOptions, "dimensions" | "batchSize" | "timeoutMs" | "fetch"> {
  /** The bundled runtime, local or remote. */
  runtime: EndpointProvider;
  /**
   * Folder name of the runtime's `--embedding-model`, or the name by which it serves its base. Default "base", which stands for
   * whatever embeds there; name the model so that a change of it is noticed.
   */
  model?: string;
}

/**
 * Embeds by the bundled runtime: by the mean of its base model's last hidden states, which tells wordings apart, or by the
 * sentence-embedding model that it was started with (`--embedding-model`), which tells meanings apart.
 * @example
 * ```ts
 * const url = "http://gpu:45680";
 * const embedder = new RuntimeEmbedder({ runtime: new RemoteRuntime({ url }), model: "multilingual-e5-small" });
 * const clara = await createClara({ runtime: { url }, embedder });
 * ```
 */
export class RuntimeEmbedder implements Embedder {
  readonly name: string;
  readonly #embedder: OpenAiCompatibleEmbedder;

  constructor({ runtime, model = "base", ...options }: RuntimeEmbedderOptions) {
    this.#embedder = new OpenAiCompatibleEmbedder({ ...options, endpoint: runtime, model });
    this.name = `runtime:${model}`;
  }

  /** 0 until the first answer, unless it was given. */
  get dimensions(): number {
    return this.#embedder.dimensions;
  }

  /**
   * One unit vector a text, in order. Starts a local runtime that does not run yet. Rejects as `OpenAiCompatibleEmbedder` does.
   * @example
   * ```ts
   * const [vector] = await embedder.embed(["Which key opens the greenhouse?"], { signal });
   * ```
   */
  embed(texts: readonly string[], options: CallOptions = {}): Promise<number[][]> {
    return this.#embedder.embed(texts, options);
  }
}
