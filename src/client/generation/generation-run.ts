import { AbortedError, type ClaraError, ConflictError, NotFoundError, ValidationError } from "../../errors.js";
import { signReceipt } from "../../support/receipts.js";
import type { Logger } from "../../types/common.js";
import type { GenerationRequest, GenerationResult } from "../../types/generation.js";
import type { AdapterPlacement } from "../adapter-placement.js";
import type { Dispatcher } from "../balancing/dispatcher.js";
import type { Endpoint } from "../balancing/endpoint.js";
import type { EngineIntroduction } from "../balancing/engine-introduction.js";
import type { CompletionStream, StreamPiece } from "../engines/completion-stream.js";
import type { Completion } from "../engines/completion-wire.js";
import type { Engine, EngineQuestion } from "../engines/engine.js";
import type { Attempt } from "../http/attempt.js";
import { AttemptError } from "../http/attempt-error.js";
import type { CallScope } from "../http/call-scope.js";
import { isMissingModel } from "../http/engine-complaint.js";
import { asClaraError, failedStatus, modelNotServed } from "../http/engine-errors.js";
import type { ResolvedServingOptions } from "../options.js";
import type { RecordedGeneration } from "../ports.js";
import { RevokedAdapter } from "../revoked-adapter.js";
import type { ChunkSource } from "./generation-stream.js";
import { type PreparedRequest, prepareRequest } from "./prepared-request.js";
import { GenerationSpan } from "./telemetry.js";

/** Where an attempt is made. */
interface Place {
  attempt: Attempt;
  endpoint: Endpoint;
}

/** What of a result is known when its first text comes. */
export type GenerationHead = Pick<GenerationResult, "id" | "adapterId" | "memory" | "receipt">;

/** What every generation of a client shares. */
export interface GenerationContext {
  options: ResolvedServingOptions;
  dispatcher: Dispatcher;
  engine: Engine;
  introduction: EngineIntroduction;
  placement: AdapterPlacement;
  logger: Logger;
}

/** One generation from its request to its record, whole or as a stream. */
export class GenerationRun implements ChunkSource {
  private readonly startedAt = performance.now();
  private prepared: PreparedRequest | null = null;
  private opened: { stream: CompletionStream; endpoint: Endpoint } | null = null;
  private given: string[] = [];
  private completion: Completion | null = null;
  private isRecorded = false;
  private readonly span = new GenerationSpan();

  readonly id: string;
  private readonly request: GenerationRequest;
  private readonly scope: CallScope;
  private readonly context: GenerationContext;
  private readonly body: EngineQuestion["body"];

  /** With `body` the engine gets that, and the request describes it for routing and the record. */
  constructor(id: string, request: GenerationRequest, scope: CallScope, context: GenerationContext, body?: EngineQuestion["body"]) {
    this.id = id;
    this.request = request;
    this.body = body;
    this.scope = scope;
    this.context = context;
  }

  /** The engine's own answer, once `whole` has resolved. */
  get engineBody(): unknown {
    return this.completion?.body;
  }

  /** What is known before the answer is whole. */
  get head(): GenerationHead {
    return this.headOf(this.prepared);
  }

  /** The whole answer at once. */
  async whole(): Promise<GenerationResult> {
    try {
      const prepared = await this.prepare();
      const { completion, url, asked } = await this.run(prepared, async (place, asked) => {
        const { attempt } = place;
        const completion = await this.withAdapter(place, asked, {
          ask: () => this.context.engine.complete(attempt, asked.question),
          drop: () => undefined,
        });
        attempt.finish();
        return { completion, url: attempt.connection.url, asked };
      });
      this.completion = completion;
      const { text, model, usage, toolCalls } = completion;
      const result = this.result(asked, {
        text,
        model,
        url,
        usage: usage ?? { promptTokens: 0, completionTokens: 0 },
        toolCalls,
        finishReason: completion.finishReason ?? "stop",
      });
      return this.finish(result);
    } catch (error) {
      const reason = asClaraError(error);
      this.span.fail(reason);
      this.recordFailure(reason);
      throw reason;
    } finally {
      this.scope.dispose();
    }
  }

  async next(): Promise<IteratorResult<readonly StreamPiece[], GenerationResult>> {
    try {
      this.scope.throwIfOver();
      this.opened ??= await this.openAnywhere();
      const { stream } = this.opened;
      for (let pieces = stream.take(); ; pieces = stream.take()) {
        if (pieces.length > 0) return { done: false, value: pieces };
        this.scope.throwIfOver();
        if (stream.isOver) break;
        await stream.fill(null, this.context.options.timeouts.idleMs);
      }
      const result = this.finish(this.soFar(stream.finishReason ?? "stop"));
      this.free();
      return { done: true, value: result };
    } catch (error) {
      const reason = asClaraError(error);
      this.span.fail(reason);
      // the request was good enough for a first text: what ends it afterwards is the endpoint's fault, whatever it is
      if (this.opened !== null && error instanceof AttemptError) this.context.dispatcher.failed(this.opened.endpoint, reason);
      this.recordFailure(this.scope.reason ?? reason);
      this.free();
      throw reason;
    }
  }

  give(text: string): boolean {
    if (this.scope.reason !== null) return false;
    this.given.push(text);
    return true;
  }

  leave(): GenerationResult {
    this.scope.abort(new AbortedError("The reader left the stream before its end."));
    this.free();
    return this.finish(this.soFar("aborted"));
  }

  private free(): void {
    this.opened?.stream.attempt.finish();
    this.scope.dispose();
  }

  private async prepare(): Promise<PreparedRequest> {
    this.scope.throwIfOver();
    this.prepared = await prepareRequest(this.request, this.context.options, this.scope.signal, this.body);
    this.scope.throwIfOver();
    this.span.begin(this.prepared, this.context.options.engine);
    return this.prepared;
  }

  /** Works at whichever endpoint answers. Where the router's choice was withdrawn since the router last looked, the base model takes over. */
  private async run<Result>(prepared: PreparedRequest, work: (place: Place, asked: PreparedRequest) => Promise<Result>): Promise<Result> {
    const { dispatcher, options } = this.context;
    const ask = (asked: PreparedRequest) =>
      dispatcher.run(this.scope, asked.adapterId, (attempt, endpoint) => work({ attempt, endpoint }, asked));
    try {
      return await ask(prepared);
    } catch (error) {
      if (prepared.routing === undefined || !(error instanceof RevokedAdapter)) throw error;
      this.context.logger.warn({ adapterId: prepared.adapterId }, "the router's choice was withdrawn; the base model answers instead");
      this.prepared = { ...prepared, adapterId: null, question: { ...prepared.question, model: options.baseModel } };
      return ask(this.prepared);
    }
  }

  private async openAnywhere(): Promise<{ stream: CompletionStream; endpoint: Endpoint }> {
    return this.run(await this.prepare(), async (place, asked) => {
      return { stream: await this.openStream(place, asked), endpoint: place.endpoint };
    });
  }

  /** Opens a stream and waits for its first text: until then it may fail and be tried again. */
  private openStream(place: Place, prepared: PreparedRequest): Promise<CompletionStream> {
    const { engine, options } = this.context;
    const ask = async () => {
      const stream = await engine.stream(place.attempt, prepared.question);
      await stream.fill(options.timeouts.firstTokenMs, options.timeouts.idleMs);
      stream.throwIfFailed();
      return stream;
    };
    return this.withAdapter(place, prepared, { ask, drop: (stream) => stream.drop() });
  }

  /**
   * Asks an engine that has shown that it serves the adapter. One that does not know it (any more) gets it once, and one that turns out to
   * be another process than the one that had shown it is asked again after it has shown it too: its first answer is dropped.
   */
  private async withAdapter<Result>(
    place: Place,
    prepared: PreparedRequest,
    { ask, drop }: { ask(): Promise<Result>; drop(result: Result): void },
  ): Promise<Result> {
    const { placement, introduction } = this.context;
    const { attempt, endpoint } = place;
    const { adapterId, question } = prepared;
    if (adapterId === null) {
      if (endpoint.shelf.description === null) await introduction.meet(attempt, endpoint);
      return ask().catch(async (error: unknown) => {
        throw isModelMissing(error) ? await this.unknownModel(attempt, question.model) : error;
      });
    }
    await placement.ready(attempt, endpoint, adapterId);
    const { process } = endpoint.shelf;
    const first = await ask().catch(async (error: unknown) => {
      if (!isModelMissing(error)) throw error;
      this.context.logger.info({ adapterId, endpoint: endpoint.name }, "the engine does not have the adapter; loading it again");
      await placement.restore(attempt, endpoint, adapterId);
      return ask();
    });
    if (!endpoint.shelf.isDoubted) return first;
    await placement.ready(attempt, endpoint, adapterId);
    if (endpoint.shelf.process === process) return first;
    drop(first);
    return ask();
  }

  private async unknownModel(attempt: Attempt, model: string): Promise<AttemptError> {
    const { url } = attempt.connection;
    const served = (await this.context.placement.models(attempt)).map(({ id }) => id);
    return new AttemptError(modelNotServed(url, model, served), { failover: false, retry: false });
  }

  private finish(result: GenerationResult): GenerationResult {
    this.record(result);
    this.span.end(result);
    return result;
  }

  /** The result as far as the stream has come. */
  private soFar(finishReason: string): GenerationResult {
    const stream = this.opened?.stream;
    return this.result(this.prepared, {
      text: this.given.join(""),
      model: stream?.model ?? null,
      url: stream?.attempt.connection.url ?? "",
      usage: stream?.usage ?? { promptTokens: 0, completionTokens: stream?.textEvents ?? 0 },
      toolCalls: stream?.toolCalls,
      finishReason,
    });
  }

  private result(
    prepared: PreparedRequest | null,
    answer: Pick<GenerationResult, "text" | "usage" | "finishReason" | "toolCalls"> & { model: string | null; url: string },
  ): GenerationResult {
    return {
      ...this.headOf(prepared),
      text: answer.text,
      routingConfidence: prepared?.routing?.confidence ?? null,
      routing: prepared?.routing,
      usage: answer.usage,
      ...(answer.toolCalls && answer.toolCalls.length > 0 ? { toolCalls: answer.toolCalls } : {}),
      finishReason: answer.finishReason,
      model: answer.model ?? prepared?.question.model ?? this.context.options.baseModel,
      endpoint: answer.url,
      latencyMs: performance.now() - this.startedAt,
    };
  }

  private headOf(prepared: PreparedRequest | null): GenerationHead {
    const { receiptSecret } = this.context.options;
    return {
      id: this.id,
      adapterId: prepared?.adapterId ?? null,
      ...(prepared === null || prepared.recalled.length === 0 ? {} : { memory: prepared.recalled }),
      ...(receiptSecret === undefined ? {} : { receipt: signReceipt(receiptSecret, this.id, prepared?.subjectId) }),
    };
  }

  /** What was answered so far is on record; where nothing was, only what the engines have to answer for. */
  private recordFailure(reason: ClaraError): void {
    if (this.prepared === null) return;
    if (reason instanceof AbortedError) {
      if (this.opened !== null) this.record(this.soFar("aborted"));
    } else if (this.opened !== null || !isCallersFault(reason)) this.record(this.soFar("error"));
  }

  /** Hands the answer to the recorder once; its failure is logged and goes no further. */
  private record(result: GenerationResult): void {
    const { recorder } = this.context.options;
    const { prepared } = this;
    if (recorder === undefined || prepared === null || this.isRecorded) return;
    this.isRecorded = true;
    const { prompt, messages, subjectId, domain, metadata } = prepared;
    const warn = (error: unknown) => this.context.logger.warn({ generationId: this.id, error }, "the generation was not recorded");
    try {
      const generation: RecordedGeneration = {
        ...result,
        prompt,
        messages,
        subjectId,
        domain,
        metadata,
        createdAt: new Date().toISOString(),
      };
      const recording: unknown = recorder.record(generation);
      // typed as void, but a function that returns a promise fits as well
      if (recording instanceof Promise) recording.catch(warn);
    } catch (error) {
      warn(error);
    }
  }
}

/** What is asked wrongly fails with every adapter alike. */
function isCallersFault(reason: ClaraError): boolean {
  if (reason instanceof ValidationError || reason instanceof NotFoundError || reason instanceof ConflictError) return true;
  const { status } = reason.details;
  return typeof status === "number" && status >= 400 && status < 500 && ![408, 429].includes(status);
}

function isModelMissing(error: unknown): boolean {
  return failedStatus(error) === 404 && isMissingModel((error as AttemptError).complaint!);
}
