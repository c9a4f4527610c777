import { randomUUID } from "node:crypto";
import { AbortedError, type ClaraError, type ClaraErrorCode, ConfigurationError, ValidationError } from "../errors.js";
import type { CallOptions, EndpointProvider } from "../types/common.js";
import type { GenerationRequest, GenerationResult } from "../types/generation.js";
import type { AdapterProof } from "../types/proof.js";
import { type AdapterFiles, AdapterPlacement, type LoadedAdapter, type ServedAdapter, type UnloadedAdapter } from "./adapter-placement.js";
import { Dispatcher } from "./balancing/dispatcher.js";
import { Endpoint, fixedEndpoint } from "./balancing/endpoint.js";
import { EndpointPool } from "./balancing/endpoint-pool.js";
import { EngineIntroduction } from "./balancing/engine-introduction.js";
import { HealthWatch } from "./balancing/health-watch.js";
import type { EngineDescription, ServedModel } from "./engines/engine.js";
import { createEngine } from "./engines/engines.js";
import { type BatchOutcome, type BatchProgress, runBatch } from "./generation/batch.js";
import { type GenerationContext, GenerationRun } from "./generation/generation-run.js";
import { GenerationStream } from "./generation/generation-stream.js";
import { chatErrorResponse, chatResponse, chatStreamResponse, readChatBody } from "./generation/openai-chat.js";
import { checkAdapterFiles, checkAdapterId } from "./generation/prepared-request.js";
import { findOpenTelemetry } from "./generation/telemetry.js";
import { CallScope } from "./http/call-scope.js";
import type { ConnectionSettings } from "./http/connection.js";
import { asClaraError } from "./http/engine-errors.js";
import { fetchTransport, type Transport } from "./http/transport.js";
import { undiciTransport } from "./http/undici-transport.js";
import { type ResolvedServingOptions, resolveServingOptions, type ServingClientOptions } from "./options.js";
import { RevokedAdapter } from "./revoked-adapter.js";

/** One endpoint's answer to `health()`. */
export interface EndpointHealth {
  endpoint: string;
  ok: boolean;
  latencyMs: number;
  error?: { code: ClaraErrorCode; message: string };
}

/** One endpoint as this client knows it. */
export interface EndpointStatus {
  endpoint: string;
  /** `closed`: calls go there. `open`: it is spared. `half-open`: one call at a time finds out how it is. */
  circuit: "closed" | "open" | "half-open";
  /** Why it is spared; null while it answers. */
  lastError: { code: ClaraErrorCode; message: string } | null;
  /** Calls that run and wait there. */
  load: number;
  /** Adapters that answer there now. */
  runningAdapters: string[];
  /** Adapters that it has shown to serve, with what it showed; null: nothing was recorded by which it could. */
  adapters: { id: string; proof: AdapterProof | null }[];
  /** What it says of itself; null before the first call. */
  description: EngineDescription | null;
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
  private readonly connection: ConnectionSettings;
  private readonly pool: EndpointPool;
  private readonly watch: HealthWatch;
  private readonly dispatcher: Dispatcher;
  private readonly placement: AdapterPlacement;
  private readonly context: GenerationContext;
  private readonly scopes = new Set<CallScope>();
  private isClosed = false;
  private onIdle: (() => void) | null = null;

  constructor(options: ServingClientOptions) {
    this.options = resolveServingOptions(options);
    void findOpenTelemetry();
    const { timeouts, logger, endpoints, fetch, maxResponseBytes, adapters, baseModel, baseModelSha256, proof, drainMs } = this.options;
    this.transport = fetch === undefined ? undiciTransport(timeouts) : fetchTransport(fetch);
    const { engine, startHint, unavailableCode } = createEngine(this.options);
    this.connection = { transport: this.transport, startHint, unavailableCode, maxResponseBytes };
    this.pool = new EndpointPool([]);
    for (const endpoint of endpoints) this.addEndpoint(endpoint);
    this.transport.onConnection?.((origin) => {
      for (const endpoint of this.pool.all) if (endpoint.name.startsWith(origin)) endpoint.shelf.noteConnection();
    });
    this.dispatcher = new Dispatcher(this.pool, this.options);
    const introduction = new EngineIntroduction(engine, {
      baseModel,
      baseModelSha256,
      listsModels: engine.traits.listsModels,
      headersMs: timeouts.headersMs,
      otherBases: (endpoint) => this.basesBeside(endpoint),
    });
    this.placement = new AdapterPlacement({
      dispatcher: this.dispatcher,
      engine,
      introduction,
      adminMs: timeouts.adminMs,
      drainMs,
      proof,
      directory: adapters,
      openScope: () => this.scope(undefined),
    });
    this.context = { options: this.options, dispatcher: this.dispatcher, engine, introduction, placement: this.placement, logger };
    this.watch = new HealthWatch(this.pool, this.options.health.intervalMs, (endpoint) => this.lookAt(endpoint));
  }

  /**
   * Asks for one whole answer. Abort stops the engine at once.
   * Throws `ValidationError` (`input_invalid`), `RuntimeUnavailableError` (says what to start), `EngineError`, `NotFoundError`
   * (`model_not_found`, `adapter_not_found`), `ConflictError` (`adapter_state_conflict`: the pinned adapter was rejected or withdrawn,
   * noticed at once in the process that did it and within 5 s in others), `OverloadedError`, `AbortedError`.
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
   * Answers a body of OpenAI's `POST /v1/chat/completions`, routed like every question: what makes any client of that API learn. A model of
   * the form `name@vN` pins that adapter; any other model is routed. The answer is the engine's own (tools, structured output, log-
   * probabilities), under the id by which feedback names it; errors come as answers in OpenAI's shape, not as exceptions. With `memory: true`
   * the model gets corrections of questions that ask the same; the header `x-clara-memory` names their feedback.
   * @example
   * ```ts
   * const response = await clara.serving.chatCompletions({ model: "auto", messages: [{ role: "user", content: "Hello" }], stream: true });
   * ```
   */
  async chatCompletions(
    body: unknown,
    options: CallOptions & Pick<GenerationRequest, "adapterId" | "domain" | "subjectId" | "metadata" | "memory"> = {},
  ): Promise<Response> {
    const { signal, ...described } = options;
    try {
      const { request, body: passed, isStream, includesUsage } = readChatBody(body);
      const given = Object.fromEntries(Object.entries(described).filter(([, value]) => value !== undefined));
      const question = { ...request, ...given };
      const engineBody = this.context.engine.traits.speaksOpenAi ? passed : undefined;
      const id = generationId();
      const run = new GenerationRun(id, question, this.scope(signal), this.context, engineBody);
      if (isStream) return await chatStreamResponse(new GenerationStream(id, () => run), includesUsage, () => run.head);
      return chatResponse(await run.whole(), run.engineBody);
    } catch (error) {
      return chatErrorResponse(error);
    }
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
    if (!Array.isArray(requests)) throw new ValidationError("input_invalid", "generateBatch: give a list of requests.");
    const concurrency = options.concurrency ?? this.options.maxConcurrency * this.pool.all.length;
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw new ConfigurationError("config_invalid", `generateBatch: concurrency: give a whole number from 1, not ${concurrency}.`);
    }
    return runBatch(requests, (request) => this.generate(request, { signal: options.signal }), {
      concurrency,
      onProgress: options.onProgress,
      logger: this.options.logger,
    });
  }

  /**
   * Loads an adapter at every endpoint, or at none: where one fails, the others are undone and the error names it. An adapter whose
   * trainer left a fingerprint is asked at every endpoint to repeat it (`EngineError` `adapter_unproven` where it does not).
   * `path` is a folder on the engine's machine. Loading what is loaded already is fine; another path under the same id is
   * a `ConflictError`. Files that the engine refuses are a `ValidationError` (`adapter_invalid`).
   * @example
   * ```ts
   * await clara.serving.loadAdapter({ id: "building@v3", path: "adapters/building@v3" });
   * ```
   */
  loadAdapter(adapter: AdapterFiles, { signal }: CallOptions = {}): Promise<LoadedAdapter> {
    return this.administer(signal, (scope) => this.placement.load(scope, checkAdapterFiles(adapter, this.options.baseModel)));
  }

  /**
   * Asks every endpoint to show once more that it serves the adapter, and reports what each showed; a failed proof is reported, not
   * thrown. The adapter must be loaded everywhere: `NotFoundError` `adapter_not_found` names where it is not.
   * @example
   * ```ts
   * const proofs = await clara.serving.verifyAdapter("building@v3");
   * const wrong = proofs.filter(({ status }) => status === "failed");
   * ```
   */
  verifyAdapter(id: string, options: CallOptions & { predecessorId?: string } = {}): Promise<AdapterProof[]> {
    return this.administer(options.signal, (scope) =>
      this.placement.verify(scope, { id: checkAdapterId(id), predecessorId: options.predecessorId }),
    );
  }

  /**
   * Loads adapters and has them proven at every endpoint ahead of the first question for them. `createClara` leaves that to you: it would
   * start a local runtime that nobody needs yet, and have every process that opens CLARA, a command's too, prove every adapter anew.
   * @returns what went wrong, by adapter; nothing is thrown for it
   * @example
   * ```ts
   * const active = await clara.router.listAdapters({ status: "active" });
   * await clara.serving.prewarm(active.map(({ id }) => id));
   * ```
   */
  async prewarm(ids: readonly string[], { signal }: CallOptions = {}): Promise<{ id: string; error: ClaraError }[]> {
    const { adapters } = this.options;
    if (adapters === undefined) {
      throw new ConfigurationError("config_invalid", "prewarm: give the option adapters, which knows where the files are.");
    }
    const failures: { id: string; error: ClaraError }[] = [];
    for (const id of ids) {
      try {
        const { path, revokedReason } = await adapters.getAdapter(id, { signal });
        if (revokedReason !== undefined) throw new RevokedAdapter(id, revokedReason);
        await this.loadAdapter({ id, path }, { signal });
      } catch (error) {
        if (signal?.aborted) throw asClaraError(error);
        failures.push({ id, error: asClaraError(error) });
      }
    }
    return failures;
  }

  /**
   * Adds an endpoint while calls run. It gets traffic at once, and traffic for an adapter after it has shown that it serves it.
   * @example
   * ```ts
   * clara.serving.addEndpoint("http://gpu-3:8000/v1");
   * ```
   */
  addEndpoint(endpoint: string | EndpointProvider): void {
    const known = this.pool.all.find((one) => one.isOf(endpoint));
    if (known === undefined) this.pool.add(this.place(endpoint));
  }

  /**
   * Takes an endpoint out: no new calls go there, and those that run may end. Unknown ones are fine; the last one stays.
   * @throws ConfigurationError `config_invalid` for the last one
   * @example
   * ```ts
   * clara.serving.removeEndpoint("http://gpu-1:8000/v1");
   * ```
   */
  removeEndpoint(endpoint: string | EndpointProvider): void {
    const known = this.pool.all.find((one) => one.isOf(endpoint));
    if (known === undefined) return;
    if (this.pool.all.length === 1) {
      throw new ConfigurationError("config_invalid", `removeEndpoint: ${known.name} is the only endpoint; add another one first.`);
    }
    this.pool.remove(known);
  }

  /**
   * Every endpoint as this client knows it, without asking any.
   * @example
   * ```ts
   * const spared = clara.serving.endpoints().filter(({ circuit }) => circuit === "open");
   * ```
   */
  endpoints(): EndpointStatus[] {
    return this.pool.all.map(({ name, circuit, lastError, load, turns, shelf }) => ({
      endpoint: name,
      circuit: circuit.state,
      lastError,
      load,
      runningAdapters: turns.running,
      adapters: shelf.readyAdapters.map((id) => ({ id, proof: shelf.proofOf(id) })),
      description: shelf.description,
    }));
  }

  /**
   * Unloads an adapter at every endpoint; one that is not loaded is fine.
   * @example
   * ```ts
   * await clara.serving.unloadAdapter("building@v2");
   * ```
   */
  unloadAdapter(id: string, { signal }: CallOptions = {}): Promise<UnloadedAdapter> {
    return this.administer(signal, (scope) => this.placement.unload(scope, checkAdapterId(id)));
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
   * Asks every endpoint whether it is ready, and the engine that it should be; reports failures in place of throwing them.
   * @example
   * ```ts
   * const down = (await clara.serving.health()).filter((endpoint) => !endpoint.ok);
   * ```
   */
  async health({ signal }: CallOptions = {}): Promise<EndpointHealth[]> {
    const health = await Promise.all(this.pool.all.map((endpoint) => this.healthOf(endpoint, signal)));
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
    this.watch.stop();
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
    this.watch.start();
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

  private place(endpoint: string | EndpointProvider): Endpoint {
    const provider = typeof endpoint === "string" ? fixedEndpoint(endpoint, this.options.token) : endpoint;
    return new Endpoint(provider, this.connection, this.options);
  }

  private basesBeside(endpoint: Endpoint): ServedModel[] {
    const others = this.pool.all.filter((one) => one !== endpoint);
    return others.flatMap((one) => one.shelf.description?.models.filter(({ id }) => id === this.options.baseModel) ?? []);
  }

  /** What the health watch does: adapters that a restarted engine had shown are loaded and shown again before anybody asks for them. */
  private async lookAt(endpoint: Endpoint): Promise<void> {
    const { error } = await this.healthOf(endpoint, undefined);
    if (this.isClosed) return;
    if (error !== undefined) return this.dispatcher.failed(endpoint, error);
    const shown = endpoint.shelf.readyAdapters;
    const scope = this.scope(undefined);
    try {
      await this.dispatcher.probe(endpoint, scope, async (attempt) => {
        endpoint.shelf.noteConnection();
        for (const id of shown) {
          await this.placement.ready(attempt, endpoint, id).catch((reason: unknown) => {
            // what was withdrawn since is not wanted back
            if (!(reason instanceof RevokedAdapter)) throw reason;
          });
        }
        attempt.finish();
      });
    } catch (reason) {
      this.options.logger.warn(
        { endpoint: endpoint.name, error: asClaraError(reason).message },
        "an endpoint did not show its adapters again",
      );
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
        // where it has shown adapters, whoever asks for them meets it: a meeting here would forget which those were
        if (endpoint.shelf.readyAdapters.length === 0) await this.context.introduction.meet(attempt, endpoint);
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
