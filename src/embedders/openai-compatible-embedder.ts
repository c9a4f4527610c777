import { fetch as undiciFetch } from "undici";
import { z } from "zod";
import { AbortedError, ClaraError, ConfigurationError, EngineError, OverloadedError, RuntimeUnavailableError } from "../errors.js";
import type { CallOptions, Embedder, Endpoint, EndpointProvider } from "../types/common.js";

/** Options of `OpenAiCompatibleEmbedder`. */
export interface OpenAiCompatibleEmbedderOptions {
  /** Base URL without `/v1`, or a provider that is asked before each call. */
  endpoint: EndpointProvider | string;
  /** Model name that the server knows. */
  model: string;
  /** Length of its vectors; without it the first answer tells (`dimensions` is 0 until then). */
  dimensions?: number;
  /** Bearer token; an `EndpointProvider`'s own token goes first. */
  token?: string;
  /** Texts a request. Default 64. */
  batchSize?: number;
  /** Longest wait for one request, in milliseconds. Default 30,000. */
  timeoutMs?: number;
  /** Replaces undici's fetch. */
  fetch?: typeof undiciFetch;
}

const EmbeddingsAnswer = z.object({
  data: z.array(z.object({ index: z.number().int().min(0).optional(), embedding: z.array(z.number()) })),
});

/**
 * Asks `POST {endpoint}/v1/embeddings` of the runtime, vLLM, Ollama or any OpenAI-compatible server.
 * @example
 * ```ts
 * const embedder = new OpenAiCompatibleEmbedder({ endpoint: "http://gpu:8000", model: "BAAI/bge-m3", dimensions: 1024 });
 * ```
 */
export class OpenAiCompatibleEmbedder implements Embedder {
  readonly name: string;
  #dimensions: number;
  readonly #options: OpenAiCompatibleEmbedderOptions;

  constructor(options: OpenAiCompatibleEmbedderOptions) {
    if (typeof options.endpoint === "string" && !URL.canParse(options.endpoint)) {
      throw new ConfigurationError("config_invalid", `endpoint is not a URL: ${JSON.stringify(options.endpoint)}.`);
    }
    if (!options.model) throw new ConfigurationError("config_invalid", "model must name the embedding model that the server knows.");
    const batchSize = options.batchSize ?? 64;
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new ConfigurationError("config_invalid", `batchSize must be a whole number from 1, not ${batchSize}.`);
    }
    this.#options = { ...options, batchSize };
    this.#dimensions = options.dimensions ?? 0;
    this.name = `openai:${options.model}`;
  }

  get dimensions(): number {
    return this.#dimensions;
  }

  /**
   * One vector a text, in the order of the texts, whatever order the server answers in. Rejects with `RuntimeUnavailableError`
   * (not reachable, time out), `OverloadedError` (429), `EngineError` (any other answer than the expected), `AbortedError`.
   * @example
   * ```ts
   * const [vector] = await embedder.embed(["Which key opens the greenhouse?"], { signal });
   * ```
   */
  async embed(texts: readonly string[], options: CallOptions = {}): Promise<number[][]> {
    const vectors: number[][] = [];
    const batchSize = this.#options.batchSize!;
    for (let start = 0; start < texts.length; start += batchSize) {
      vectors.push(...(await this.#embedBatch(texts.slice(start, start + batchSize), options.signal)));
    }
    return vectors;
  }

  async #embedBatch(texts: readonly string[], signal?: AbortSignal): Promise<number[][]> {
    const endpoint = await this.#resolve(signal);
    const url = `${endpoint.url.replace(/\/+$/, "").replace(/\/v1$/, "")}/v1/embeddings`;
    const token = endpoint.token ?? this.#options.token;
    const timeout = AbortSignal.timeout(this.#options.timeoutMs ?? 30_000);
    try {
      const response = await (this.#options.fetch ?? undiciFetch)(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
        body: JSON.stringify({ model: this.#options.model, input: texts, encoding_format: "float" }),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        redirect: "error",
      });
      const body = await response.text();
      if (!response.ok) throw this.#answerError(response.status, response.headers.get("retry-after"), body, url);
      return this.#vectorsOf(body, texts.length, url);
    } catch (error) {
      if (ClaraError.isInstance(error)) throw error;
      if (signal?.aborted) throw new AbortedError("Embedding was aborted.", { cause: error });
      const what = timeout.aborted ? `did not answer within ${this.#options.timeoutMs ?? 30_000} ms` : "cannot be reached";
      throw new RuntimeUnavailableError(
        timeout.aborted ? "request_timeout" : "engine_unavailable",
        `The embedding server at ${url} ${what}; start it or correct the embedder's endpoint.`,
        { cause: error, details: { endpoint: url, model: this.#options.model } },
      );
    }
  }

  async #resolve(signal?: AbortSignal): Promise<Endpoint> {
    if (signal?.aborted) throw new AbortedError("Embedding was aborted.", { cause: signal.reason });
    const { endpoint } = this.#options;
    return typeof endpoint === "string" ? { url: endpoint } : endpoint.resolve({ signal });
  }

  #answerError(status: number, retryAfter: string | null, body: string, url: string): ClaraError {
    const details = { status, endpoint: url, model: this.#options.model };
    if (status === 429) {
      const seconds = Number(retryAfter);
      return new OverloadedError("overloaded", `The embedding server at ${url} is overloaded.`, seconds > 0 ? seconds * 1000 : 1000, {
        details,
      });
    }
    const code = status === 404 ? "model_not_found" : "engine_error";
    const message = `The embedding server at ${url} answered ${status} for model ${this.#options.model}: ${body.slice(0, 300)}`;
    return new EngineError(code, message, { details, isRetryable: status >= 500 });
  }

  #vectorsOf(body: string, count: number, url: string): number[][] {
    const invalid = (reason: string, cause?: unknown): EngineError =>
      new EngineError("engine_response_invalid", `The embedding server at ${url} answered something else than embeddings: ${reason}.`, {
        details: { endpoint: url, model: this.#options.model },
        cause,
      });
    let json: unknown;
    try {
      json = JSON.parse(body);
    } catch (error) {
      throw invalid("not JSON", error);
    }
    const answer = EmbeddingsAnswer.safeParse(json);
    if (!answer.success) throw invalid("no `data` array of embeddings", answer.error);
    const vectors = new Array<number[] | undefined>(count).fill(undefined);
    for (const [position, item] of answer.data.data.entries()) {
      const index = item.index ?? position;
      if (index >= count || vectors[index]) throw invalid(`index ${index} is out of range or repeated`);
      if (this.#dimensions === 0) this.#dimensions = item.embedding.length;
      if (item.embedding.length !== this.#dimensions || item.embedding.length === 0) {
        throw invalid(`a vector of ${item.embedding.length} numbers where ${this.#dimensions} were expected`);
      }
      vectors[index] = item.embedding;
    }
    const missing = vectors.indexOf(undefined);
    if (missing >= 0) throw invalid(`the embedding of text ${missing} of ${count} is missing`);
    return vectors as number[][];
  }
}
