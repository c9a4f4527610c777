import { createHash } from "node:crypto";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { Agent, type Dispatcher, request } from "undici";
import { AbortedError, ClaraError, ConfigurationError } from "../errors.js";
import type { CallOptions, Endpoint, EndpointProvider } from "../types/common.js";
import { PROTOCOL_VERSION, RuntimeCapabilities, RuntimeEvent, RuntimeJob, type RuntimeSpec } from "../types/runtime-protocol.js";
import { answerError, connectionError } from "./runtime-http-error.js";

export interface RuntimeHttpClientOptions {
  /** Longest wait for the head of an answer, milliseconds. Default 30 000. */
  requestTimeoutMs?: number;
  /** A stream that says nothing for this long is opened again; the runtime speaks every 15 s. Default 45 000. */
  streamSilenceMs?: number;
  /** How long a broken event stream is tried again before the runtime counts as gone. Default 15 000. */
  reconnectLimitMs?: number;
}

const DEFAULTS = { requestTimeoutMs: 30_000, streamSilenceMs: 45_000, reconnectLimitMs: 15_000 } satisfies RuntimeHttpClientOptions;
const LONGEST_PAUSE_MS = 2000;

/**
 * Typed client of the runtime's HTTP API (docs/runtime-protocol.md).
 * @example
 * ```ts
 * const client = new RuntimeHttpClient(new RemoteRuntime({ url: "http://gpu:45680", token }));
 * const { device } = await client.capabilities();
 * ```
 */
export class RuntimeHttpClient implements AsyncDisposable {
  readonly #provider: EndpointProvider;
  readonly #options: Required<RuntimeHttpClientOptions>;
  readonly #agent: Agent;

  constructor(provider: EndpointProvider, options: RuntimeHttpClientOptions = {}) {
    this.#provider = provider;
    this.#options = { ...DEFAULTS, ...options };
    this.#agent = new Agent({ connectTimeout: 10_000, keepAliveTimeout: 20_000, connections: 32 });
  }

  /**
   * What the runtime can do.
   * @throws ConfigurationError `runtime_protocol_mismatch`, `config_invalid` (the token); RuntimeUnavailableError `runtime_unavailable`
   * @example
   * ```ts
   * const { device, trainers } = await client.capabilities();
   * ```
   */
  async capabilities(options: CallOptions = {}): Promise<RuntimeCapabilities> {
    const { body, url } = await this.#json("GET", "/v1/capabilities", options);
    const protocol = (body as { protocol?: unknown } | null)?.protocol;
    if (protocol !== PROTOCOL_VERSION) throw protocolMismatch(url, `it speaks protocol ${String(protocol)}, this SDK ${PROTOCOL_VERSION}`);
    const parsed = RuntimeCapabilities.safeParse(body);
    if (!parsed.success) throw protocolMismatch(url, `its capabilities are not as agreed (${parsed.error.issues[0]?.path.join(".")})`);
    return parsed.data;
  }

  /**
   * Queues a job; `created` is false where the same job was there already. With `restart` a failed or cancelled one begins again.
   * @example
   * ```ts
   * const { job } = await client.createJob(spec, { restart: true });
   * ```
   */
  async createJob(spec: RuntimeSpec, options: CallOptions & { restart?: boolean } = {}): Promise<{ job: RuntimeJob; created: boolean }> {
    const path = options.restart === true ? "/v1/jobs?restart=true" : "/v1/jobs";
    const { body, status, url } = await this.#json("POST", path, { ...options, json: spec });
    return { job: this.#job(body, url), created: status === 201 || status === 202 };
  }

  /**
   * The job as the runtime has it.
   * @throws NotFoundError `job_not_found`
   * @example
   * ```ts
   * const { status } = await client.getJob(id);
   * ```
   */
  async getJob(id: string, options: CallOptions = {}): Promise<RuntimeJob> {
    const { body, url } = await this.#json("GET", `/v1/jobs/${encodeURIComponent(id)}`, options);
    return this.#job(body, url);
  }

  /**
   * Asks a job to end; it has two seconds before it is killed.
   * @example
   * ```ts
   * await client.cancelJob(id);
   * ```
   */
  async cancelJob(id: string, options: CallOptions = {}): Promise<RuntimeJob> {
    const { body, url } = await this.#json("POST", `/v1/jobs/${encodeURIComponent(id)}/cancel`, options);
    return this.#job(body, url);
  }

  /**
   * Forgets an ended job and its events; its adapter stays.
   * @example
   * ```ts
   * await client.deleteJob(id);
   * ```
   */
  async deleteJob(id: string, options: CallOptions = {}): Promise<void> {
    await this.#json("DELETE", `/v1/jobs/${encodeURIComponent(id)}`, options);
  }

  /**
   * Writes a file under the runtime's root, replacing one that is there.
   * @example
   * ```ts
   * await client.putFile("datasets/a.jsonl", text);
   * ```
   */
  async putFile(path: string, content: AsyncIterable<string> | string, options: CallOptions = {}): Promise<void> {
    const body = typeof content === "string" ? Buffer.from(content) : await gather(content);
    const sha256 = createHash("sha256").update(body).digest("hex");
    await this.#json("PUT", fileRoute(path), {
      ...options,
      body,
      headers: { "content-type": "application/octet-stream", "x-content-sha256": sha256 },
    });
  }

  /**
   * Paths of the files under the runtime's root that begin with `prefix`, at most 10,000.
   * @example
   * ```ts
   * const files = await client.listFiles("adapters/office@v1/");
   * ```
   */
  async listFiles(prefix: string, options: CallOptions = {}): Promise<string[]> {
    const { body, url } = await this.#json("GET", `/v1/files?prefix=${encodeURIComponent(prefix)}`, options);
    const { files } = (body ?? {}) as { files?: { path: string }[] };
    if (!Array.isArray(files)) throw protocolMismatch(url, "its list of files is none");
    return files.map(({ path }) => path);
  }

  /**
   * Removes a file under the runtime's root; one that is not there is fine.
   * @example
   * ```ts
   * await client.deleteFile("datasets/a.jsonl");
   * ```
   */
  async deleteFile(path: string, options: CallOptions = {}): Promise<void> {
    try {
      await this.#json("DELETE", fileRoute(path), options);
    } catch (error) {
      if (!ClaraError.isInstance(error) || error.details.status !== 404) throw error;
    }
  }

  /**
   * A job's events after `after`, in order and none twice, up to its `result` or `error`. A broken stream is opened again
   * where it ended.
   * @throws RuntimeUnavailableError where the runtime stays away; NotFoundError `job_not_found`
   * @example
   * ```ts
   * for await (const event of client.events(id, { after: 17 })) console.log(event);
   * ```
   */
  async *events(id: string, options: CallOptions & { after?: number } = {}): AsyncGenerator<RuntimeEvent, void, undefined> {
    let after = options.after ?? 0;
    let failingSince: number | null = null;
    for (let attempt = 0; ; attempt += 1) {
      try {
        for await (const event of this.#stream(id, after, options.signal)) {
          failingSince = null;
          attempt = 0;
          if (event.seq <= after) continue;
          after = event.seq;
          yield event;
          if (event.type === "result" || event.type === "error") return;
        }
        // The runtime ended the stream in order: the job has ended, and its last event was before `after`.
        const job = await this.getJob(id, options);
        if (job.status !== "queued" && job.status !== "running" && job.last_seq <= after) return;
      } catch (error) {
        if (!ClaraError.isInstance(error) || error.code !== "runtime_unavailable") throw error;
        failingSince ??= Date.now();
        if (Date.now() - failingSince > this.#options.reconnectLimitMs) throw error;
      }
      await pause(Math.min(LONGEST_PAUSE_MS, 100 * 2 ** attempt), options.signal);
    }
  }

  /**
   * Closes its connections.
   * @example
   * ```ts
   * await client.close();
   * ```
   */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async *#stream(id: string, after: number, signal?: AbortSignal): AsyncGenerator<RuntimeEvent, void, undefined> {
    const headers = { accept: "text/event-stream", ...(after > 0 ? { "last-event-id": String(after) } : {}) };
    const { response, endpoint } = await this.#send("GET", `/v1/jobs/${encodeURIComponent(id)}/events`, { signal, headers });
    const messages: EventSourceMessage[] = [];
    const parser = createParser({ onEvent: (message) => messages.push(message) });
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        parser.feed(decoder.decode(chunk, { stream: true }));
        for (const message of messages.splice(0)) yield this.#event(message.data, endpoint.url);
      }
    } catch (error) {
      if (ClaraError.isInstance(error)) throw error;
      throw this.#failure(error, endpoint, signal);
    }
  }

  #event(data: string, url: string): RuntimeEvent {
    let value: unknown;
    try {
      value = JSON.parse(data);
    } catch (error) {
      throw protocolMismatch(url, "an event of it is not JSON", error);
    }
    const parsed = RuntimeEvent.safeParse(value);
    if (!parsed.success) throw protocolMismatch(url, `an event of it is not as agreed (${parsed.error.issues[0]?.path.join(".")})`);
    return parsed.data;
  }

  #job(body: unknown, url: string): RuntimeJob {
    const parsed = RuntimeJob.safeParse(body);
    if (!parsed.success) throw protocolMismatch(url, `its job is not as agreed (${parsed.error.issues[0]?.path.join(".")})`);
    return parsed.data;
  }

  async #json(
    method: Dispatcher.HttpMethod,
    path: string,
    options: CallOptions & { json?: unknown; body?: string | Buffer; headers?: Record<string, string> },
  ): Promise<{ body: unknown; status: number; url: string }> {
    const { response, endpoint } = await this.#send(method, path, options);
    try {
      const text = await response.body.text();
      return { body: text === "" ? null : JSON.parse(text), status: response.statusCode, url: endpoint.url };
    } catch (error) {
      if (error instanceof SyntaxError) throw protocolMismatch(endpoint.url, `its answer to ${method} ${path} is not JSON`, error);
      throw this.#failure(error, endpoint, options.signal);
    }
  }

  async #send(
    method: Dispatcher.HttpMethod,
    path: string,
    options: CallOptions & { json?: unknown; body?: string | Buffer; headers?: Record<string, string> },
  ): Promise<{ response: Dispatcher.ResponseData; endpoint: Endpoint }> {
    if (options.signal?.aborted) throw new AbortedError("The call to the runtime was aborted.", { cause: options.signal.reason });
    const endpoint = await this.#provider.resolve(options.signal === undefined ? {} : { signal: options.signal });
    let response: Dispatcher.ResponseData;
    try {
      response = await request(`${endpoint.url.replace(/\/+$/, "")}${path}`, {
        method,
        dispatcher: this.#agent,
        headers: {
          ...(endpoint.token === undefined ? {} : { authorization: `Bearer ${endpoint.token}` }),
          ...(options.json === undefined ? {} : { "content-type": "application/json" }),
          ...options.headers,
        },
        body: options.json === undefined ? (options.body ?? null) : JSON.stringify(options.json),
        headersTimeout: this.#options.requestTimeoutMs,
        bodyTimeout: this.#options.streamSilenceMs,
        signal: options.signal ?? null,
      });
    } catch (error) {
      throw this.#failure(error, endpoint, options.signal);
    }
    if (response.statusCode < 300) return { response, endpoint };
    const text = await response.body.text().catch(() => "");
    throw answerError({ status: response.statusCode, text, method, path, url: endpoint.url, name: this.#provider.name });
  }

  #failure(error: unknown, endpoint: Endpoint, signal: AbortSignal | undefined): ClaraError {
    if (signal?.aborted) return new AbortedError("The call to the runtime was aborted.", { cause: signal.reason });
    return connectionError(error, this.#provider.name, endpoint.url);
  }
}

function protocolMismatch(url: string, why: string, cause?: unknown): ConfigurationError {
  return new ConfigurationError(
    "runtime_protocol_mismatch",
    `What listens at ${url} is not a matching runtime: ${why}. Install the same version of clara-sdk on both sides.`,
    {
      cause,
      details: { url },
    },
  );
}

function fileRoute(path: string): string {
  return `/v1/files/${path.split("/").map(encodeURIComponent).join("/")}`;
}

async function gather(content: AsyncIterable<string>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of content) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done, { once: true });
    if (signal?.aborted) done();
  });
  if (signal?.aborted) throw new AbortedError("The call to the runtime was aborted.", { cause: signal.reason });
}
