import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** One request that a stand-in received. */
export interface RecordedRequest {
  method: string;
  /** Path without the query. */
  path: string;
  query: URLSearchParams;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed JSON, or the text where it is not JSON; undefined without a body. */
  body: unknown;
  /** The body as it came. */
  bytes: Buffer;
  /** The body as text. */
  text: string;
  /** `performance.now()` of its arrival. */
  receivedAt: number;
  /** `open` until the answer was sent whole (`finished`) or the connection was lost before (`aborted`). */
  state: "open" | "finished" | "aborted";
  /** `performance.now()` of leaving `open`. */
  endedAt: number | null;
}

/** What a route gets. */
export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  recorded: RecordedRequest;
  /** Aborts when the connection is gone. */
  signal: AbortSignal;
}

/** An answer: `body` is sent as JSON, a string as plain text. */
export interface Reply {
  status: number;
  body?: unknown;
  /** Default: by the body. Null: none is sent. */
  contentType?: string | null;
  headers?: Record<string, string>;
}

/** Answers one request; null where it has written the answer itself. */
export type Handler = (exchange: Exchange) => Promise<Reply | null>;

/** The listening part that both stand-ins share. */
export interface StandInServer {
  /** `http://127.0.0.1:PORT`, without `/v1`. */
  readonly url: string;
  readonly port: number;
  /** Every request so far, in order. */
  readonly requests: RecordedRequest[];
  /** TCP connections that are open now. */
  readonly openConnections: number;
  /** Resets every connection. */
  dropConnections(): void;
  /** Stops listening and drops what is open. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 32 * 1024 * 1024;

/**
 * Serves `handle` over HTTP on 127.0.0.1. `refuseConnection` may keep a TCP connection away from HTTP: it then stays
 * open and unread, as behind a peer that vanished.
 */
export async function startStandInServer(
  handle: Handler,
  options: { port?: number; refuseConnection?: () => boolean } = {},
): Promise<StandInServer> {
  const requests: RecordedRequest[] = [];
  const sockets = new Set<Socket>();
  const http = createServer((request, response) => {
    void exchange(request, response, requests, handle);
  });
  http.keepAliveTimeout = 0;
  const tcp = createTcpServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    if (options.refuseConnection?.() === true) return;
    http.emit("connection", socket);
    socket.resume();
  });
  await new Promise<void>((resolve, reject) => {
    tcp.once("error", reject);
    tcp.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const { port } = tcp.address() as AddressInfo;
  const dropConnections = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    get openConnections() {
      return sockets.size;
    },
    dropConnections,
    close: () =>
      new Promise((resolve) => {
        tcp.close(() => resolve());
        dropConnections();
      }),
  };
}

async function exchange(request: IncomingMessage, response: ServerResponse, requests: RecordedRequest[], handle: Handler): Promise<void> {
  const url = new URL(request.url ?? "/", "http://stand-in");
  const recorded: RecordedRequest = {
    method: request.method ?? "GET",
    path: decodeURIComponent(url.pathname),
    query: url.searchParams,
    headers: request.headers,
    body: undefined,
    bytes: Buffer.alloc(0),
    text: "",
    receivedAt: performance.now(),
    state: "open",
    endedAt: null,
  };
  requests.push(recorded);
  const gone = new AbortController();
  response.on("close", () => {
    recorded.state = response.writableFinished ? "finished" : "aborted";
    recorded.endedAt = performance.now();
    gone.abort();
  });
  try {
    recorded.bytes = await readBody(request);
    recorded.text = recorded.bytes.toString("utf8");
    recorded.body = parse(recorded.text);
    const reply = await handle({ request, response, recorded, signal: gone.signal });
    if (reply !== null) send(response, reply);
  } catch (error) {
    // a lost connection is the caller's business; anything else is the test's own script failing
    if (response.destroyed || gone.signal.aborted) return;
    if (response.headersSent) response.destroy();
    else send(response, errorReply(500, "InternalServerError", String(error)));
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY_BYTES) throw new Error(`the body is larger than ${MAX_BODY_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function parse(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function send(response: ServerResponse, { status, body, contentType, headers }: Reply): void {
  const type = contentType === undefined ? (typeof body === "string" ? "text/plain; charset=utf-8" : "application/json") : contentType;
  response.writeHead(status, { ...(body !== undefined && type !== null && { "content-type": type }), ...headers });
  response.end(body === undefined || typeof body === "string" ? body : JSON.stringify(body));
}

/** An error in OpenAI's shape; `extra` goes beside the message. */
export function errorReply(status: number, type: string, message: string, extra: Record<string, unknown> = {}): Reply {
  return { status, body: { error: { message, type, param: null, code: status, ...extra } } };
}

/** Writes with back-pressure; rejects when the connection goes. */
export async function write(response: ServerResponse, data: string | Uint8Array): Promise<void> {
  if (response.destroyed) throw new Error("the connection is gone");
  if (response.write(data)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (action: () => void) => () => {
      response.off("drain", drained);
      response.off("close", closed);
      action();
    };
    const drained = settle(resolve);
    const closed = settle(() => reject(new Error("the connection is gone")));
    response.once("drain", drained);
    response.once("close", closed);
  });
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Lets the client read what was written before the connection is broken: a reset discards what is still under way. */
export function afterDelivery(): Promise<void> {
  return delay(20);
}
