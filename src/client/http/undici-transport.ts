import { Agent, type Dispatcher } from "undici";
import type { BodyReader, HttpRequest, HttpResponse, Transport } from "./transport.js";

/** Bytes that are read ahead of the consumer before the socket is paused. */
const HIGH_WATER_BYTES = 65_536;

/**
 * The built-in transport: undici's dispatcher without the layers that `fetch` and streams put on it, because a
 * generation is many small parts. Connections are kept alive for less than the 5 s after which uvicorn closes them.
 */
export function undiciTransport({ connectMs }: { connectMs: number }): Transport {
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 4_000, connect: { timeout: connectMs } });
  return {
    send: (request) => new Promise((resolve, reject) => new Exchange(agent, request, resolve, reject)),
    onConnection: (listener) => void agent.on("connect", (origin) => listener(origin.origin)),
    close: () => agent.destroy(),
  };
}

/** One request and its answer; also the reader of its body. */
class Exchange implements Dispatcher.DispatchHandler, BodyReader {
  private controller: Dispatcher.DispatchController | null = null;
  private parts: Uint8Array[] = [];
  private buffered = 0;
  private paused = false;
  private ended = false;
  private failure: Error | null = null;
  private waiting: { resolve(part: Uint8Array | null): void; reject(error: Error): void } | null = null;

  private readonly signal: AbortSignal;
  private readonly respond: (response: HttpResponse) => void;
  private readonly refuse: (error: Error) => void;

  constructor(agent: Agent, request: HttpRequest, respond: (response: HttpResponse) => void, refuse: (error: Error) => void) {
    const { signal, method, origin, path, headers, body } = request;
    this.signal = signal;
    this.respond = respond;
    this.refuse = refuse;
    if (signal.aborted) {
      refuse(signal.reason);
      return;
    }
    signal.addEventListener("abort", this.onAbort);
    try {
      const base = new URL(origin);
      agent.dispatch(
        { origin: base.origin, path: (base.pathname === "/" ? "" : base.pathname) + path, method, headers, body: body ?? null },
        this,
      );
    } catch (error) {
      this.fail(error as Error);
    }
  }

  read(): Promise<Uint8Array | null> {
    const part = this.parts.shift();
    if (part !== undefined) {
      this.buffered -= part.length;
      if (this.paused && this.buffered < HIGH_WATER_BYTES) {
        this.paused = false;
        this.controller?.resume();
      }
      return Promise.resolve(part);
    }
    if (this.failure !== null) return Promise.reject(this.failure);
    if (this.ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  destroy(): void {
    if (this.ended || this.failure !== null) return;
    this.stop(new Error("the rest of the answer is not wanted"));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    if (this.failure !== null) controller.abort(this.failure);
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // 1xx answers are news, not the answer
    if (status < 200) return;
    this.respond({
      status,
      contentType: (single(headers["content-type"]) ?? "").toLowerCase(),
      retryAfter: single(headers["retry-after"]),
      body: this,
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, part: Buffer): void {
    if (this.failure !== null) return;
    if (this.waiting !== null) {
      const { resolve } = this.waiting;
      this.waiting = null;
      resolve(part);
      return;
    }
    this.parts.push(part);
    this.buffered += part.length;
    if (this.buffered >= HIGH_WATER_BYTES && !this.paused) {
      this.paused = true;
      controller.pause();
    }
  }

  onResponseEnd(): void {
    this.ended = true;
    this.signal.removeEventListener("abort", this.onAbort);
    this.waiting?.resolve(null);
    this.waiting = null;
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(error);
  }

  private readonly onAbort = () => {
    this.stop(this.signal.reason);
  };

  private stop(reason: Error): void {
    // what was read ahead is not handed out after an abort
    this.parts = [];
    this.fail(reason);
    this.controller?.abort(reason);
  }

  private fail(error: Error): void {
    if (this.failure !== null || this.ended) return;
    this.failure = error;
    this.signal.removeEventListener("abort", this.onAbort);
    this.refuse(error);
    this.waiting?.reject(error);
    this.waiting = null;
  }
}

function single(value: string | string[] | undefined): string | null {
  return (Array.isArray(value) ? value[0] : value) ?? null;
}
