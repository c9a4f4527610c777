import type { Attempt } from "./attempt.js";
import { AttemptError } from "./attempt-error.js";
import { readComplaint } from "./engine-complaint.js";
import { connectionError, invalidResponse, statusError } from "./engine-errors.js";
import type { BodyReader, HttpMethod, HttpResponse, Transport } from "./transport.js";

/** Bytes of an error page that are read for its message. */
const MAX_ERROR_BYTES = 65_536;

/** What every connection of a client shares. */
export interface ConnectionSettings {
  transport: Transport;
  /** What to start where nobody answers. */
  startHint: string;
  unavailableCode: "engine_unavailable" | "runtime_unavailable";
  maxResponseBytes: number;
}

/** One endpoint as it is reached now: requests to it fail with `AttemptError` only. */
export class Connection {
  /** Base URL without `/v1`; goes into results and messages. */
  readonly url: string;
  private readonly token: string | undefined;
  private readonly settings: ConnectionSettings;

  constructor(url: string, token: string | undefined, settings: ConnectionSettings) {
    this.url = url;
    this.token = token;
    this.settings = settings;
  }

  /** Sends a request; any status but 2xx is an error. */
  async open(attempt: Attempt, method: HttpMethod, path: string, accept: string, body?: object | Uint8Array): Promise<HttpResponse> {
    const headers: Record<string, string> = { accept };
    const isBinary = body instanceof Uint8Array;
    if (body !== undefined) headers["content-type"] = isBinary ? "application/octet-stream" : "application/json";
    if (this.token !== undefined) headers.authorization = `Bearer ${this.token}`;
    let response: HttpResponse;
    try {
      const content = body === undefined || isBinary ? body : JSON.stringify(body);
      response = await this.settings.transport.send({ method, origin: this.url, path, headers, body: content, signal: attempt.signal });
    } catch (error) {
      throw this.networkError(attempt, error);
    }
    if (response.status >= 200 && response.status < 300) return response;
    const text = await this.whole(attempt, response.body, MAX_ERROR_BYTES, true);
    throw statusError(this.url, response, readComplaint(text), `${method} ${path}`);
  }

  /** Sends a request and reads a JSON answer. */
  async json(attempt: Attempt, method: HttpMethod, path: string, body?: object): Promise<unknown> {
    const response = await this.open(attempt, method, path, "application/json", body);
    if (!response.contentType.includes("json")) {
      response.body.destroy();
      throw invalidResponse(this.url, `${path} sent ${response.contentType || "no content type"} in the place of JSON`);
    }
    const text = await this.whole(attempt, response.body, this.settings.maxResponseBytes, false);
    try {
      return JSON.parse(text);
    } catch (error) {
      throw invalidResponse(this.url, `${path} sent broken JSON`, error);
    }
  }

  /** Sends a request and reads whatever it answers. */
  async send(attempt: Attempt, method: HttpMethod, path: string, body?: object | Uint8Array): Promise<void> {
    const response = await this.open(attempt, method, path, "*/*", body);
    await this.whole(attempt, response.body, MAX_ERROR_BYTES, true);
  }

  /** Reads a text, for example metrics. */
  async text(attempt: Attempt, path: string): Promise<string> {
    const response = await this.open(attempt, "GET", path, "text/plain");
    return this.whole(attempt, response.body, this.settings.maxResponseBytes, false);
  }

  private async whole(attempt: Attempt, body: BodyReader, limit: number, cut: boolean): Promise<string> {
    const parts: Uint8Array[] = [];
    let size = 0;
    const read = () => body.read().catch((error: unknown) => Promise.reject(this.networkError(attempt, error)));
    for (let part = await read(); part !== null; part = await read()) {
      parts.push(part);
      size += part.length;
      if (size <= limit) continue;
      body.destroy();
      if (!cut) throw invalidResponse(this.url, `it is larger than ${limit} bytes (maxResponseBytes)`);
      break;
    }
    return (parts.length === 1 ? Buffer.from(parts[0]!.buffer, parts[0]!.byteOffset, parts[0]!.byteLength) : Buffer.concat(parts)).toString(
      "utf8",
    );
  }

  /** What a request, or the reading of its answer, failed with. */
  networkError(attempt: Attempt, error: unknown): Error {
    if (attempt.reason !== null) return attempt.reason;
    if (error instanceof AttemptError) return error;
    return connectionError(this.url, this.settings.startHint, this.settings.unavailableCode, error);
  }
}
