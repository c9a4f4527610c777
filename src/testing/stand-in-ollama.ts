import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type CompletionBody, type ScriptedTokens, tokenise } from "./completion-wire.js";
import { FaultPlan, failBeforeAnswer, type StandInFault } from "./faults.js";
import { type Exchange, type RecordedRequest, type Reply, startStandInServer, write } from "./stand-in-server.js";

/** What an answer script of the stand-in for Ollama gets. */
export interface StandInOllamaQuestion {
  /** The model that was asked, as Ollama names it: `base`, `office:v1`. */
  model: string;
  /** Content of the last message. */
  text: string;
  body: Record<string, unknown>;
}

/** Options of {@link startStandInOllama}. */
export interface StandInOllamaOptions {
  /** Default `base`. */
  baseModel?: string;
  /** What it answers. Default: model name and the question. */
  answer?: (question: StandInOllamaQuestion) => string | ScriptedTokens | Promise<string | ScriptedTokens>;
  /** Milliseconds between tokens. Default 0. */
  tokenIntervalMs?: number;
  /** False: it converts no adapter of this base, as Ollama does with most architectures. Default true. */
  convertsAdapters?: boolean;
  /** Of these, those that come before an answer. Name their `path`. */
  faults?: readonly StandInFault[];
  /** Default: a free one. */
  port?: number;
}

/** A running stand-in for Ollama. */
export interface StandInOllama extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  /** Every request so far, in order. */
  readonly requests: RecordedRequest[];
  /** Names of its models, without `:latest`. */
  readonly models: string[];
  setFault(fault: StandInFault | readonly StandInFault[] | null): void;
  close(): Promise<void>;
}

interface Model {
  digest: string;
  modifiedAt: string;
}

interface Context {
  options: StandInOllamaOptions;
  models: Map<string, Model>;
  /** Digests and the bytes behind them. */
  blobs: Map<string, Buffer>;
}

/**
 * Starts a server on 127.0.0.1 that speaks Ollama's own protocol (chat as JSON lines or whole, log-probabilities, blobs, models made of
 * base and adapter) and answers what the test scripts. It computes nothing. Token counts are words.
 * @example
 * ```ts
 * await using ollama = await startStandInOllama({ answer: ({ model }) => `${model} answers` });
 * const serving = new ServingClient({ engine: "ollama", endpoints: [ollama.url] });
 * console.log((await serving.generate({ prompt: "Who answers?" })).text);
 * ```
 */
export async function startStandInOllama(options: StandInOllamaOptions = {}): Promise<StandInOllama> {
  const context: Context = { options, models: new Map(), blobs: new Map() };
  addModel(context, options.baseModel ?? "base");
  const faults = new FaultPlan(options.faults);
  const server = await startStandInServer(
    async (exchange) => {
      const fault = faults.take(exchange.recorded.path);
      const failure = fault === null ? undefined : await failBeforeAnswer(fault, exchange);
      return failure === undefined ? handle(exchange, context) : failure;
    },
    { port: options.port, refuseConnection: () => faults.takeConnection() },
  );
  return {
    url: server.url,
    port: server.port,
    requests: server.requests,
    get models() {
      return [...context.models.keys()];
    },
    setFault: (fault) => faults.set(fault),
    close: () => server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

async function handle(exchange: Exchange, context: Context): Promise<Reply | null> {
  const { method, path } = exchange.recorded;
  if (path.startsWith("/api/blobs/")) return blob(exchange, context, path.slice("/api/blobs/".length));
  switch (`${method} ${path}`) {
    case "GET /api/version":
      return { status: 200, body: { version: "0.0.0-stand-in" } };
    case "GET /api/tags":
      return { status: 200, body: { models: [...context.models].map(([name, model]) => card(name, model)) } };
    case "POST /api/chat":
      return chat(exchange, context);
    case "POST /api/create":
      return create(exchange, context);
    case "DELETE /api/delete":
      return remove(exchange, context);
    default:
      return { status: 404, body: "404 page not found" };
  }
}

function addModel({ models }: Context, name: string): void {
  models.set(name, { digest: createHash("sha256").update(name).digest("hex"), modifiedAt: new Date().toISOString() });
}

function card(name: string, { digest, modifiedAt }: Model): object {
  const full = name.includes(":") ? name : `${name}:latest`;
  const details = {
    parent_model: "",
    format: "gguf",
    family: "llama",
    families: ["llama"],
    parameter_size: "1M",
    quantization_level: "F16",
  };
  return { name: full, model: full, modified_at: modifiedAt, size: 1, digest, details };
}

function notFound(model: unknown): Reply {
  return { status: 404, body: { error: `model '${String(model)}' not found` } };
}

function blob({ recorded }: Exchange, { blobs }: Context, digest: string): Reply {
  if (recorded.method === "HEAD") return blobs.has(digest) ? { status: 200 } : { status: 404, contentType: "application/json", body: "" };
  const bytes = recorded.bytes;
  const actual = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  if (actual !== digest) return { status: 400, body: { error: `digest mismatch, expected "${digest}", got "${actual}"` } };
  blobs.set(digest, bytes);
  return { status: 201 };
}

function create({ recorded }: Exchange, context: Context): Reply {
  const { model, from, adapters = {} } = recorded.body as { model: string; from: string; adapters?: Record<string, string> };
  if (!/^[\w.-]+(:[\w.-]+)?$/.test(model)) return { status: 400, body: { error: "invalid model name" } };
  if (!context.models.has(from)) return notFound(from);
  const isWhole = "adapter_model.safetensors" in adapters && Object.values(adapters).every((digest) => context.blobs.has(digest));
  if (Object.keys(adapters).length > 0 && !isWhole) return { status: 400, body: { error: "unknown type" } };
  if (context.options.convertsAdapters === false) return { status: 400, body: { error: "unsupported architecture" } };
  addModel(context, model);
  return { status: 200, body: { status: "success" } };
}

function remove({ recorded }: Exchange, { models }: Context): Reply {
  const { model } = recorded.body as { model: string };
  return models.delete(model) ? { status: 200 } : notFound(model);
}

async function chat({ recorded, response, signal }: Exchange, context: Context): Promise<Reply | null> {
  const body = (recorded.body ?? {}) as Record<string, unknown> & { model?: string; messages?: { content: string }[]; stream?: boolean };
  if (!body.model) return { status: 400, body: { error: "model is required" } };
  const { model } = body;
  if (!context.models.has(model)) return notFound(model);
  const text = body.messages?.at(-1)?.content ?? "";
  const script = context.options.answer ?? (({ model: asked, text: said }: StandInOllamaQuestion) => `${asked}: ${said}`);
  const options = (body.options ?? {}) as { num_predict?: number; stop?: string[] };
  const asOpenAi = {
    messages: body.messages,
    max_tokens: options.num_predict,
    stop: options.stop,
    logprobs: body.logprobs,
    top_logprobs: body.top_logprobs,
  };
  const answer = tokenise(await script({ model, text, body }), asOpenAi as CompletionBody);
  const piece = (content: string) => ({ model, created_at: new Date().toISOString(), message: { role: "assistant", content } });
  const end = {
    done: true,
    done_reason: answer.finishReason,
    total_duration: 3,
    load_duration: 1,
    prompt_eval_count: answer.promptTokens,
    prompt_eval_duration: 1,
    eval_count: answer.tokens.length,
    eval_duration: 1,
  };
  if (body.stream === false) {
    const logprobs = body.logprobs === true ? { logprobs: answer.tokens.map((token, index) => scored(token, index, answer)) } : {};
    return { status: 200, body: { ...piece(answer.tokens.join("")), ...logprobs, ...end } };
  }
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  for (const token of answer.tokens) {
    if (context.options.tokenIntervalMs) await delay(context.options.tokenIntervalMs, undefined, { signal });
    await write(response, `${JSON.stringify({ ...piece(token), done: false })}\n`);
  }
  await write(response, `${JSON.stringify({ ...piece(""), ...end })}\n`);
  response.end();
  return null;
}

function scored(token: string, index: number, { logprobs, top }: ScriptedTokens): object {
  const entry = (text: string, logprob: number) => ({ token: text, logprob, bytes: [...Buffer.from(text)] });
  return {
    ...entry(token, logprobs?.[index] ?? 0),
    top_logprobs: (top?.[index] ?? []).map((other) => entry(other.token, other.logprob)),
  };
}
