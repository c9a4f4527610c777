import { randomUUID } from "node:crypto";
import { AbortedError, ConfigurationError } from "../errors.js";
import type { CallOptions } from "../types/common.js";
import type { GenerationRequest, GenerationResult } from "../types/generation.js";
import { AdapterPlacement, type LoadedAdapter, type ServedAdapter, type UnloadedAdapter } from "./adapter-placement.js";
import { Dispatcher } from "./balancing/dispatcher.js";
import { Endpoint, fixedEndpoint } from "./balancing/endpoint.js";
import { createEngine } from "./engines/engines.js";
import { type BatchOutcome, type BatchProgress, runBatch } from "./generation/batch.js";
import { type GenerationContext, GenerationRun } from "./generation/generation-run.js";
import { GenerationStream } from "./generation/generation-stream.js";
import { checkAdapterFiles } from "./generation/prepared-request.js";
import { CallScope } from "./http/call-scope.js";
import type { ConnectionSettings } from "./http/connection.js";
import { asClaraError } from "./http/engine-errors.js";
import { fetchTransport, type Transport } from "./http/transport.js";
import { undiciTransport } from "./http/undici-transport.js";
import { type ResolvedServingOptions, resolveServingOptions, type ServingClientOptions } from "./options.js";

/** One endpoint's answer to `health()`. */
export interface EndpointHealth {
  endpoint: string;
  ok: boolean;
  latencyMs: number;
  error?: { code: string; message: string };
}

/**
 * Asks serving engines for answers, each by the adapter that fits. Needs no database.
 * @example
 * ```ts
 * await using serving = new ServingClient({ engine: "vllm", endpoints: ["http://127.0.0.1:8000"], baseModel: "Qwen/Qwen3-8B" });
 * const reply = await serving.generate({ prompt: "What is a canary?" });
 * console.log(reply.text, reply.usage);
 * ```
 */
export class ServingClient implements AsyncDisposable {
  /** The options with their defaults filled in. */
  readonly options: ResolvedServingOptions;
  private readonly transport: Transport;
  private readonly dispatcher: Dispatcher;
  private readonly placement: AdapterPlacement;
  private readonly context: GenerationContext;
  private readonly scopes = new Set<CallScope>();
  private isClosed = false;
  private onIdle: (() => void) | null = null;

  constructor(options: ServingClientOptions) {
    this.options = resolveServingOptions(options);
    const { timeouts, retries, logger, endpoints, token, fetch, maxResponseBytes, adapters } = this.options;
    this.transport = fetch === undefined ? undiciTransport(timeouts) : fetchTransport(fetch);
    const { engine, startHint, unavailableCode } = createEngine(this.options);
    const connection: ConnectionSettings = { transport: this.transport, startHint, unavailableCode, maxResponseBytes };
    const places = endpoints.map(
      (one) => new Endpoint(typeof one === "string" ? fixedEndpoint(one, token) : one, connection, this.options),
    );
    this.dispatcher = new Dispatcher(places, retries, logger);
    this.placement = new AdapterPlacement(this.dispatcher, engine, timeouts.adminMs, adapters, () => this.scope(undefined));
    this.context = { options: this.options, dispatcher: this.dispatcher, engine, placement: this.placement, logger };
  }

  /**
   * Asks for one whole answer. Abort stops the engine at once.
   * Throws `ValidationError` (`input_invalid`), `RuntimeUnavailableError` (says what to start), `EngineError`, `NotFoundError`
   * (`model_not_found`, `adapter_not_found`), `OverloadedError`, `AbortedError`.
   * @example
   * ```ts
   * const reply = await clara.serving.generate({ messages: [{ role: "user", content: "Hello" }], maxTokens: 64 });
   * ```
   */
  async generate(request: GenerationRequest, { signal }: CallOptions = {}): Promise<GenerationResult> {
    const scope = this.scope(signal);
    return new GenerationRun(generationId(), request, scope, this.context).whole();
  }

  /**
   * Asks for an answer as a stream. Errors come out of the iteration and of `result`, the same as of `generate`.
   * @example
   * ```ts
   * for await (const chunk of clara.serving.stream({ prompt: "Tell me a story." })) process.stdout.write(chunk.text);
   * ```
   */
  stream(request: GenerationRequest, { signal }: CallOptions = {}): GenerationStream {
    const id = generationId();
    return new GenerationStream(id, () => new GenerationRun(id, request, this.scope(signal), this.context));
  }

  /**
   * Asks for many answers, `concurrency` at once (default `maxConcurrency` times the endpoints). Each settles by itself,
   * in the order of the requests; after an abort the rest are rejected with `AbortedError`.
   * @example
   * ```ts
   * const outcomes = await clara.serving.generateBatch(questions.map((prompt) => ({ prompt })), { concurrency: 8 });
   * const texts = outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value.text : outcome.reason.code));
   * ```
   */
  async generateBatch(
    requests: readonly GenerationRequest[],
    options: CallOptions & { concurrency?: number; onProgress?: (progress: BatchProgress) => void } = {},
  ): Promise<BatchOutcome[]> {
    const concurrency = options.concurrency ?? this.options.maxConcurrency * this.dispatcher.endpoints.length;
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw new ConfigurationError("config_invalid", `generateBatch: concurrency: give a whole number from 1, not ${concurrency}.`);
    }
    return runBatch(requests, (request) => this.generate(request, { signal: options.signal }), {
      concurrency,
      onProgress: options.onProgress,
    });
  }

  /**
   * Loads an adapter at every endpoint, or at none: where one fails, the others are undone and the error names it.
   * `path` is a folder on the engine's machine. Loading what is loaded already is fine; another path under the same id is
   * a `ConflictError`. Files that the engine refuses are a `ValidationError` (`adapter_invalid`).
   * @example
   * ```ts
   * await clara.serving.loadAdapter({ id: "building@v3", path: "adapters/building@v3" });
   * ```
   */
  loadAdapter(adapter: { id: string; path: string }, { signal }: CallOptions = {}): Promise<LoadedAdapter> {
    return this.administer(signal, (scope) => this.placement.load(scope, checkAdapterFiles(adapter)));
  }

  /**
   * Unloads an adapter at every endpoint; one that is not loaded is fine.
   * @example
   * ```ts
   * await clara.serving.unloadAdapter("building@v2");
   * ```
   */
  unloadAdapter(id: string, { signal }: CallOptions = {}): Promise<UnloadedAdapter> {
    return this.administer(signal, (scope) => this.placement.unload(scope, id));
  }

  /**
   * The adapters that are served, and where. An endpoint that does not answer is an error, not a gap.
   * @example
   * ```ts
   * const missing = (await clara.serving.listAdapters()).filter((adapter) => adapter.endpoints.length < 2);
   * ```
   */
  listAdapters({ signal }: CallOptions = {}): Promise<ServedAdapter[]> {
    return this.administer(signal, (scope) => this.placement.list(scope));
  }

  /**
   * Asks every endpoint whether it is ready; reports failures in place of throwing them.
   * @example
   * ```ts
   * const down = (await clara.serving.health()).filter((endpoint) => !endpoint.ok);
   * ```
   */
  async health({ signal }: CallOptions = {}): Promise<EndpointHealth[]> {
    const health = await Promise.all(this.dispatcher.endpoints.map((endpoint) => this.healthOf(endpoint, signal)));
    if (signal?.aborted) throw new AbortedError("The call was aborted by its signal.", { cause: signal.reason });
    if (this.isClosed) throw new AbortedError("The serving client is closed.");
    return health;
  }

  /**
   * Ends the client: waits up to `graceMs` (default 0) for running calls, then aborts them and drops its connections.
   * @example
   * ```ts
   * await clara.serving.close({ graceMs: 5_000 });
   * ```
   */
  async close({ graceMs = 0 }: { graceMs?: number } = {}): Promise<void> {
    this.isClosed = true;
    if (graceMs > 0 && this.scopes.size > 0) await this.idle(graceMs);
    for (const scope of [...this.scopes]) scope.abort(new AbortedError("The serving client was closed."));
    await this.transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private scope(signal: AbortSignal | undefined, limit: "totalMs" | "healthMs" = "totalMs"): CallScope {
    const ms = this.options.timeouts[limit];
    const scope = new CallScope({ signal, limit: { ms, option: `timeouts.${limit}` }, onDispose: (one) => this.disposed(one) });
    this.scopes.add(scope);
    if (this.isClosed) scope.abort(new AbortedError("The serving client is closed."));
    return scope;
  }

  private disposed(scope: CallScope): void {
    this.scopes.delete(scope);
    if (this.scopes.size === 0) this.onIdle?.();
  }

  private async idle(graceMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private async administer<Result>(signal: AbortSignal | undefined, work: (scope: CallScope) => Promise<Result>): Promise<Result> {
    const scope = this.scope(signal);
    try {
      scope.throwIfOver();
      return await work(scope);
    } catch (error) {
      throw scope.reason ?? asClaraError(error);
    } finally {
      scope.dispose();
    }
  }

  private async healthOf(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<EndpointHealth> {
    const startedAt = performance.now();
    const scope = this.scope(signal, "healthMs");
    let error: EndpointHealth["error"];
    try {
      await this.dispatcher.probe(endpoint, scope, async (attempt) => {
        await this.context.engine.ping(attempt);
        attempt.finish();
      });
    } catch (reason) {
      const { code, message } = asClaraError(reason);
      error = { code, message };
    } finally {
      scope.dispose();
    }
    return { endpoint: endpoint.name, ok: error === undefined, latencyMs: performance.now() - startedAt, ...(error && { error }) };
  }
}

function generationId(): string {
  return `gen_${randomUUID()}`;
}
