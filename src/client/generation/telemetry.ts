import type { Attributes, Context, Span } from "@opentelemetry/api";
import type { ClaraError } from "../../errors.js";
import type { GenerationResult } from "../../types/generation.js";
import type { PreparedRequest } from "./prepared-request.js";

/** The names of OpenTelemetry's semantic conventions for generative AI that are emitted, and our own. */
const NAMES = {
  operation: "gen_ai.operation.name",
  provider: "gen_ai.provider.name",
  requestModel: "gen_ai.request.model",
  maxTokens: "gen_ai.request.max_tokens",
  temperature: "gen_ai.request.temperature",
  topP: "gen_ai.request.top_p",
  seed: "gen_ai.request.seed",
  stop: "gen_ai.request.stop_sequences",
  outputType: "gen_ai.output.type",
  responseId: "gen_ai.response.id",
  responseModel: "gen_ai.response.model",
  finishReasons: "gen_ai.response.finish_reasons",
  inputTokens: "gen_ai.usage.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  serverAddress: "server.address",
  serverPort: "server.port",
  errorType: "error.type",
  adapterId: "clara.adapter.id",
  routingStrategy: "clara.routing.strategy",
  routingConfidence: "clara.routing.confidence",
} as const;

type OpenTelemetry = typeof import("@opentelemetry/api");

let api: OpenTelemetry | null = null;
let loading: Promise<void> | undefined;

/** Finds OpenTelemetry's API, if the host has it; until then, and without it, nothing is traced. */
export function findOpenTelemetry(): Promise<void> {
  loading ??= import("@opentelemetry/api").then(
    (found) => {
      api = found;
    },
    () => undefined, // an optional peer: absent means that the host traces nothing
  );
  return loading;
}

/** The span of one generation, below what the host traces around it. Texts of users are never attributes. */
export class GenerationSpan {
  readonly #parent: Context | undefined = api?.context.active();
  readonly #startTime = Date.now();
  #span: Span | null = null;

  /** The request is known, and the kind of engine that gets it. */
  begin({ question, adapterId, routing }: PreparedRequest, engine: string): void {
    if (api === null || this.#parent === undefined) return;
    const provider = api.trace.getTracerProvider();
    // without an SDK the proxy has nobody to ask, and what would describe the span need not be gathered
    const tracer = provider instanceof api.ProxyTracerProvider ? provider.getDelegateTracer("clara-sdk") : provider.getTracer("clara-sdk");
    if (tracer === undefined) return;
    const attributes: Attributes = {
      [NAMES.operation]: "chat",
      [NAMES.provider]: engine,
      [NAMES.requestModel]: question.model,
      [NAMES.maxTokens]: question.maxTokens,
      [NAMES.temperature]: question.temperature,
      [NAMES.topP]: question.topP,
      [NAMES.seed]: question.seed,
      [NAMES.stop]: question.stop === undefined ? undefined : [question.stop].flat(),
      [NAMES.outputType]: (question.responseFormat?.type ?? "text") === "text" ? "text" : "json",
      [NAMES.adapterId]: adapterId ?? undefined,
      [NAMES.routingStrategy]: routing?.strategy,
      [NAMES.routingConfidence]: routing?.confidence,
    };
    const options = { kind: api.SpanKind.CLIENT, attributes, startTime: this.#startTime };
    const span = tracer.startSpan(`chat ${question.model}`, options, this.#parent);
    if (span.isRecording()) this.#span = span;
  }

  end({ id, model, finishReason, usage, endpoint }: GenerationResult): void {
    if (this.#span === null) return;
    const server = URL.parse(endpoint);
    this.#span.setAttributes({
      [NAMES.responseId]: id,
      [NAMES.responseModel]: model,
      [NAMES.finishReasons]: [finishReason],
      [NAMES.inputTokens]: usage.promptTokens,
      [NAMES.outputTokens]: usage.completionTokens,
      [NAMES.serverAddress]: server?.hostname,
      [NAMES.serverPort]: server?.port ? Number(server.port) : undefined,
    });
    this.#span.end();
    this.#span = null;
  }

  fail({ code }: ClaraError): void {
    if (this.#span === null) return;
    this.#span.setAttribute(NAMES.errorType, code);
    this.#span.setStatus({ code: api!.SpanStatusCode.ERROR, message: code });
    this.#span.end();
    this.#span = null;
  }
}
