import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { AdapterSlots, type StandInAdapter } from "./adapter-slots.js";
import { type CompletionBody, CompletionWire, promptOf, type ScriptedTokens, tokenise, wordsOf } from "./completion-wire.js";
import { FaultPlan, failBeforeAnswer, failInStream, type StandInFault, writeSplit } from "./faults.js";
import { type Exchange, errorReply, type RecordedRequest, type Reply, startStandInServer } from "./stand-in-server.js";

/** What an answer script gets. */
export interface StandInQuestion {
  /** The adapter that was asked for, or null for the base model. */
  adapter: StandInAdapter | null;
  /** Content of the last message, or the prompt. */
  text: string;
  body: CompletionBody;
}

/** An answer: a text (streamed word by word), or its tokens, or tokens with their log-probabilities in nats. */
export type StandInAnswer = string | readonly string[] | ScriptedTokens;

/** Options of {@link startStandInEngine}. */
export interface StandInEngineOptions {
  /** Served model name. Default `base`. */
  baseModel?: string;
  /** Adapters that are resident at once; the least recently used makes room. Default 4. */
  slots?: number;
  /** Adapters that may be loaded at once, as in the bundled runtime, which refuses one more; there are as many slots. Default: any number. */
  maxAdapters?: number;
  /** Milliseconds to bring an adapter into a slot. Default 0. */
  loadTimeMs?: number;
  /** Tokens that prompt and answer may have together. Default 4,096. */
  maxModelLength?: number;
  /** Milliseconds between tokens. Default 0. */
  tokenIntervalMs?: number;
  /** What it answers. Default: model name and the question. */
  answer?: (question: StandInQuestion) => StandInAnswer | Promise<StandInAnswer>;
  /** False: loading this adapter fails as for a folder that is not there. Default: every path is good. */
  hasAdapterFiles?: (path: string) => boolean;
  /** What its worker says of an adapter's files that it cannot read or has no place for; null: they are good. Default: every path is good. */
  adapterComplaint?: (path: string) => string | null;
  /** Bearer token it asks for. Default: none. */
  token?: string;
  faults?: readonly StandInFault[];
  /** Default: a free one. */
  port?: number;
}

/** A running stand-in engine. */
export interface StandInEngine extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without `/v1`. */
  readonly url: string;
  readonly port: number;
  /** Every request so far, in order. */
  readonly requests: RecordedRequest[];
  /** Those for an answer: chat and plain completions. */
  readonly questions: RecordedRequest[];
  /** TCP connections that are open now. */
  readonly openConnections: number;
  /** Ids of the registered adapters. */
  readonly adapters: string[];
  /** Ids of the adapters in slots, least recently used first. */
  readonly residentAdapters: string[];
  /** How often an adapter was brought into a slot. */
  readonly adapterLoads: number;
  /** Replaces the faults; null heals. */
  setFault(fault: StandInFault | readonly StandInFault[] | null): void;
  /** As a new process on the same port: connections are reset, adapters forgotten but for those that it is started with. */
  restart(options?: { adapters?: readonly StandInAdapter[] }): void;
  close(): Promise<void>;
}

/**
 * Starts a server on 127.0.0.1 that speaks vLLM's protocol (chat and plain completions with streaming, models, runtime
 * loading of adapters with its status codes and messages) and answers what the test scripts. It computes nothing.
 * Token counts are words.
 * @example
 * ```ts
 * await using engine = await startStandInEngine({ answer: ({ adapter }) => adapter?.id ?? "the base" });
 * const serving = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
 * console.log((await serving.generate({ prompt: "Who answers?" })).text);
 * ```
 */
export async function startStandInEngine(options: StandInEngineOptions = {}): Promise<StandInEngine> {
  const baseModel = options.baseModel ?? "base";
  const slots = new AdapterSlots(
    options.slots ?? options.maxAdapters ?? 4,
    options.loadTimeMs ?? 0,
    options.maxAdapters ?? Number.POSITIVE_INFINITY,
  );
  const faults = new FaultPlan(options.faults);
  const context: EngineContext = { options, baseModel, slots, startedAt: Date.now() / 1000 };
  const server = await startStandInServer((exchange) => handle(exchange, context, faults.take(exchange.recorded.path)), {
    port: options.port,
    refuseConnection: () => faults.takeConnection(),
  });
  return {
    url: server.url,
    port: server.port,
    requests: server.requests,
    get questions() {
      return server.requests.filter(({ path }) => path === "/v1/chat/completions" || path === "/v1/completions");
    },
    get openConnections() {
      return server.openConnections;
    },
    get adapters() {
      return slots.list().map((adapter) => adapter.id);
    },
    get residentAdapters() {
      return slots.residentIds();
    },
    get adapterLoads() {
      return slots.loads;
    },
    setFault: (fault) => faults.set(fault),
    restart: ({ adapters = [] } = {}) => {
      slots.clear();
      for (const adapter of adapters) void slots.add(adapter);
      context.startedAt = Date.now() / 1000;
      server.dropConnections();
    },
    close: () => server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

const MAX_MODEL_LENGTH = 4_096;

interface EngineContext {
  options: StandInEngineOptions;
  baseModel: string;
  slots: AdapterSlots;
  /** Seconds since 1970. */
  startedAt: number;
}

async function handle(exchange: Exchange, context: EngineContext, fault: StandInFault | null): Promise<Reply | null> {
  const { recorded } = exchange;
  const { token } = context.options;
  if (token !== undefined && recorded.path.startsWith("/v1") && recorded.headers.authorization !== `Bearer ${token}`) {
    return { status: 401, body: { error: "Unauthorized" } };
  }
  const failure = fault === null ? undefined : await failBeforeAnswer(fault, exchange);
  if (failure !== undefined) return failure;
  switch (`${recorded.method} ${recorded.path}`) {
    case "GET /health":
      return { status: 200 };
    case "GET /version":
      return { status: 200, body: { version: "0.0.0-stand-in" } };
    case "GET /metrics":
      return { status: 200, body: metrics(context) };
    case "GET /v1/models":
      return { status: 200, body: { object: "list", data: modelCards(context) } };
    case "POST /v1/load_lora_adapter":
      return loadAdapter(exchange, context);
    case "POST /v1/unload_lora_adapter":
      return unloadAdapter(exchange, context);
    case "POST /v1/chat/completions":
    case "POST /v1/completions":
      return complete(exchange, context, fault);
    default:
      return { status: 404, body: { detail: "Not Found" } };
  }
}

/** The two series of vLLM's that a client learns from: the slots, and which start of the process this is. */
function metrics({ slots, startedAt }: EngineContext): string {
  return [
    `vllm:lora_requests_info{max_lora="${slots.slots}",running_lora_adapters="",waiting_lora_adapters=""} ${startedAt}`,
    `process_start_time_seconds ${startedAt}`,
    "",
  ].join("\n");
}

function modelCards({ baseModel, slots, options }: EngineContext): object[] {
  const created = Math.floor(Date.now() / 1000);
  const permission = {
    id: `modelperm-${randomUUID()}`,
    object: "model_permission",
    created,
    allow_create_engine: false,
    allow_sampling: true,
    allow_logprobs: true,
    allow_search_indices: false,
    allow_view: true,
    allow_fine_tuning: false,
    organization: "*",
    group: null,
    is_blocking: false,
  };
  const card = (id: string, root: string, parent: string | null) => ({
    id,
    object: "model",
    created,
    owned_by: "vllm",
    root,
    parent,
    permission: [permission],
  });
  return [
    { ...card(baseModel, baseModel, null), max_model_len: options.maxModelLength ?? MAX_MODEL_LENGTH },
    ...slots.list().map(({ id, path }) => card(id, path, baseModel)),
  ];
}

async function loadAdapter(exchange: Exchange, { slots, options, baseModel }: EngineContext): Promise<Reply> {
  const { lora_name: id, lora_path: path } = (exchange.recorded.body ?? {}) as { lora_name?: string; lora_path?: string };
  if (!id || !path) return errorReply(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.");
  if (id === baseModel) return errorReply(400, "InvalidUserInput", `The lora adapter '${id}' conflicts with a served base model.`);
  if (slots.get(id) !== undefined) {
    const advice = "If you want to load the adapter in place, set 'load_inplace' to True.";
    return errorReply(400, "InvalidUserInput", `The lora adapter '${id}' has already been loaded. ${advice}`);
  }
  if (slots.isFull) {
    const message = `${options.maxAdapters} adapters are loaded, which is the limit (--max-adapters); unload one first.`;
    return errorReply(400, "InvalidUserInput", message);
  }
  if (options.hasAdapterFiles?.(path) === false) {
    return errorReply(404, "NotFoundError", `Loading lora ${id} failed: No adapter found for <path>`);
  }
  const complaint = options.adapterComplaint?.(path) ?? null;
  if (complaint !== null) {
    const message = `Call to add_lora method failed: Worker failed with error '${complaint}', please check the stack trace above for the root cause`;
    return errorReply(500, "InternalServerError", message);
  }
  await slots.add({ id, path });
  return { status: 200, body: `Success: LoRA adapter '${id}' added successfully.`, contentType: null };
}

function unloadAdapter(exchange: Exchange, { slots }: EngineContext): Reply {
  const { lora_name: id } = (exchange.recorded.body ?? {}) as { lora_name?: string };
  if (!id) return errorReply(400, "InvalidUserInput", "'lora_name' needs to be provided to unload a LoRA adapter.");
  if (!slots.remove(id)) return errorReply(404, "NotFoundError", `The lora adapter '${id}' cannot be found.`);
  return { status: 200, body: `Success: LoRA adapter '${id}' removed successfully.`, contentType: null };
}

async function complete(exchange: Exchange, context: EngineContext, fault: StandInFault | null): Promise<Reply | null> {
  const { recorded, response } = exchange;
  const body = (recorded.body ?? {}) as CompletionBody;
  const chat = recorded.path === "/v1/chat/completions";
  if (chat ? !Array.isArray(body.messages) : typeof body.prompt !== "string") {
    const field = `body.${chat ? "messages" : "prompt"}`;
    const issue = `{'type': 'missing', 'loc': '${field}', 'msg': 'Field required', 'input': '<dict of ${Object.keys(body).length} items>'}`;
    return errorReply(400, "Bad Request", `1 validation error:\n  ${issue}`, { param: field });
  }
  const model = body.model ?? context.baseModel;
  const adapter = context.slots.get(model) ?? null;
  if (adapter === null && model !== context.baseModel) {
    const message = `The model \`${model}\` does not exist. Valid aliases: ${context.baseModel}.`;
    return errorReply(404, "NotFoundError", message, { param: "model" });
  }
  if (body.cache_salt != null && (typeof body.cache_salt !== "string" || body.cache_salt === "")) {
    const message = "Parameter 'cache_salt' must be a non-empty string if provided. (parameter=cache_salt)";
    return errorReply(400, "BadRequestError", message, { param: "cache_salt" });
  }
  const excess = tooLong(body, context);
  if (excess !== null) return errorReply(400, "BadRequestError", excess, { param: "max_tokens" });
  if (adapter !== null) exchange.response.once("close", await context.slots.use(adapter.id));
  const text = body.messages?.at(-1)?.content ?? body.prompt ?? "";
  const scripted = await (context.options.answer ?? echo)({ adapter, text, body });
  const wire = new CompletionWire(chat, `${chat ? "chatcmpl" : "cmpl"}-${randomUUID()}`, model, tokenise(scripted, body));
  if (body.stream === true) await stream(exchange, wire, context, fault);
  else {
    const whole = JSON.stringify(wire.whole());
    const spoils = fault !== null && fault.kind !== "split" && fault.kind !== "slow-headers";
    response.writeHead(200, { "content-type": "application/json" });
    await writeSplit(response, spoils ? whole.slice(0, Math.floor(whole.length / 2)) : whole, fault);
    if (!spoils || !(await failInStream(fault, exchange))) response.end();
  }
  return null;
}

function tooLong(body: CompletionBody, { options }: EngineContext): string | null {
  const limit = options.maxModelLength ?? MAX_MODEL_LENGTH;
  const prompt = wordsOf(promptOf(body)).length;
  const asked = body.max_completion_tokens ?? body.max_tokens ?? 0;
  if (prompt + asked <= limit) return null;
  if (asked <= limit) {
    return `This model's maximum context length is ${limit} tokens. However, you requested ${asked} output tokens and your prompt contains ${prompt}.`;
  }
  return `max_tokens=${asked} cannot be greater than max_model_len=${limit}. Please request fewer output tokens. (parameter=max_tokens, value=${asked})`;
}

function echo({ adapter, text }: StandInQuestion): string {
  return `${adapter?.id ?? "base"}: ${text}`;
}

async function stream(exchange: Exchange, wire: CompletionWire, context: EngineContext, fault: StandInFault | null): Promise<void> {
  const { response, recorded, signal } = exchange;
  const body = recorded.body as CompletionBody;
  const interval = context.options.tokenIntervalMs ?? 0;
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  response.flushHeaders();
  const send = (event: object) => writeSplit(response, `data: ${JSON.stringify(event)}\n\n`, fault);
  const opening = wire.opening();
  if (opening !== null) await send(opening);
  const failAt =
    fault === null || fault.kind === "split" || fault.kind === "slow-headers" ? -1 : Math.min(fault.afterTokens ?? 0, wire.tokenCount - 1);
  for (let index = 0; index < wire.tokenCount; index += 1) {
    if (interval > 0) await delay(interval, undefined, { signal });
    await context.slots.idle();
    if (fault !== null && index === failAt && (await failInStream(fault, exchange))) return;
    await send(wire.token(index));
  }
  if (body.stream_options?.include_usage === true) await send(wire.closing());
  await writeSplit(response, "data: [DONE]\n\n", fault);
  response.end();
}
