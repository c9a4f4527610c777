import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { aborted, afterDelivery, type Exchange, errorReply, type Reply, write } from "./stand-in-server.js";

/**
 * What a stand-in engine does wrong, on demand:
 * - `reset`: the connection is reset (TCP RST), before the answer or after `afterTokens`.
 * - `close`: the connection is closed in the middle of the answer.
 * - `stall`: nothing more comes after the headers and `afterTokens` (default 0); the connection stays open.
 * - `half-open`: new connections are accepted and never read, as behind a peer that vanished.
 * - `slow-headers`: the answer starts after `delayMs` (default: never).
 * - `status`: answers `status` (with `retryAfter` as its header).
 * - `error-event`: an error object in the stream after `afterTokens`, as vLLM sends it when its engine dies.
 * - `garbage`: something that is not JSON in the place of an event, after `afterTokens`.
 * - `endless-line`: bytes without a line break until the client goes.
 * - `wrong-content-type`: 200 with an HTML page.
 * - `truncate`: the stream ends properly, without finish reason and without `[DONE]`, after `afterTokens`.
 * - `split`: the answer is right, but sent `bytes` (default 1) at a time.
 */
export interface StandInFault {
  kind:
    | "reset"
    | "close"
    | "stall"
    | "half-open"
    | "slow-headers"
    | "status"
    | "error-event"
    | "garbage"
    | "endless-line"
    | "wrong-content-type"
    | "truncate"
    | "split";
  /** Requests it applies to, by the start of their path. Default: `/v1/chat/completions` and `/v1/completions`. */
  path?: string;
  /** How many requests it spoils before it is gone. Default: until it is replaced. */
  times?: number;
  /** Tokens that are streamed before it happens. */
  afterTokens?: number;
  delayMs?: number;
  /** HTTP status of `status`. Default 500. */
  status?: number;
  /** `retry-after` header of `status`: seconds or an HTTP date. */
  retryAfter?: string;
  /** Body of `status`. Default: an error object in vLLM's shape. */
  body?: unknown;
  /** Bytes a write of `split`. */
  bytes?: number;
}

/** The faults that are set, and how often each still happens. */
export class FaultPlan {
  private faults: { fault: StandInFault; left: number }[] = [];

  constructor(faults: readonly StandInFault[] = []) {
    this.set(faults);
  }

  /** Replaces all faults; null or an empty list heals. */
  set(fault: StandInFault | readonly StandInFault[] | null): void {
    const list = fault === null ? [] : Array.isArray(fault) ? (fault as readonly StandInFault[]) : [fault as StandInFault];
    this.faults = list.map((one) => ({ fault: one, left: one.times ?? Number.POSITIVE_INFINITY }));
  }

  /** The fault for a request of this path, counted down. */
  take(path: string): StandInFault | null {
    return this.pick(({ fault }) => fault.kind !== "half-open" && matches(fault, path));
  }

  /** True where a new connection shall be left unread. */
  takeConnection(): boolean {
    return this.pick(({ fault }) => fault.kind === "half-open") !== null;
  }

  private pick(fits: (entry: { fault: StandInFault }) => boolean): StandInFault | null {
    const entry = this.faults.find((one) => one.left > 0 && fits(one));
    if (entry === undefined) return null;
    entry.left -= 1;
    return entry.fault;
  }
}

function matches(fault: StandInFault, path: string): boolean {
  return fault.path === undefined ? path === "/v1/chat/completions" || path === "/v1/completions" : path.startsWith(fault.path);
}

/** Does the part of a fault that comes before any answer: `undefined` where there is none. */
export async function failBeforeAnswer(fault: StandInFault, { response, request, signal }: Exchange): Promise<Reply | null | undefined> {
  switch (fault.kind) {
    case "reset":
      if (fault.afterTokens !== undefined) return undefined;
      request.socket.resetAndDestroy();
      return null;
    case "close":
      if (fault.afterTokens !== undefined) return undefined;
      request.socket.destroy();
      return null;
    case "slow-headers":
      if (fault.delayMs === undefined) await aborted(signal);
      else await delay(fault.delayMs, undefined, { signal }).catch(() => undefined);
      return signal.aborted ? null : undefined;
    case "status": {
      const status = fault.status ?? 500;
      const reply =
        fault.body === undefined ? errorReply(status, "StandInFault", "a fault that was asked for") : { status, body: fault.body };
      return { ...reply, headers: fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter } };
    }
    case "wrong-content-type":
      return { status: 200, body: "<!doctype html><title>Welcome to the proxy</title>", headers: { "content-type": "text/html" } };
    case "endless-line":
      response.writeHead(200, { "content-type": "text/event-stream" });
      await write(response, "data: ");
      while (!signal.aborted) {
        await write(response, "x".repeat(65_536));
        await nextTurn();
      }
      return null;
    default:
      return undefined;
  }
}

/** Does the part of a fault that comes in the middle of a stream; true where the stream is thereby over. */
export async function failInStream(fault: StandInFault, { response, request, signal }: Exchange): Promise<boolean> {
  switch (fault.kind) {
    case "reset":
      await afterDelivery();
      request.socket.resetAndDestroy();
      return true;
    case "close":
      await afterDelivery();
      request.socket.destroy();
      return true;
    case "stall":
      await aborted(signal);
      return true;
    case "truncate":
      response.end();
      return true;
    case "garbage":
      await write(response, "data: {not json\u0000}}\n\n");
      return false;
    case "error-event":
      await write(
        response,
        `data: ${JSON.stringify({ error: { message: "EngineDeadError", type: "InternalServerError", param: null, code: 500 } })}\n\n`,
      );
      response.end("data: [DONE]\n\n");
      return true;
    default:
      return false;
  }
}

/** Sends `data`, in pieces of the fault's size where it is `split`. */
export async function writeSplit(response: Exchange["response"], data: string, fault: StandInFault | null): Promise<void> {
  if (fault?.kind !== "split") return write(response, data);
  const bytes = Buffer.from(data, "utf8");
  const size = fault.bytes ?? 1;
  for (let start = 0; start < bytes.length; start += size) {
    await write(response, bytes.subarray(start, start + size));
    await nextTurn();
  }
}
