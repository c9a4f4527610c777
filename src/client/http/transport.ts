/** The part of the fetch standard that the client uses; the global `fetch` and undici's both fit. */
export type FetchLike = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string | Uint8Array; signal: AbortSignal; redirect: "manual" },
) => Promise<FetchedResponse>;

/** The part of a `Response` that the client uses. */
export interface FetchedResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: { getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array }>; cancel(): Promise<void> } } | null;
}

export type HttpMethod = "GET" | "POST" | "DELETE" | "HEAD";

/** One HTTP request to an engine. */
export interface HttpRequest {
  method: HttpMethod;
  /** Base URL without a slash at its end. */
  origin: string;
  path: string;
  headers: Record<string, string>;
  body?: string | Uint8Array;
  /** Aborting it frees the socket at once, also in the middle of the body. */
  signal: AbortSignal;
}

/** Pulls a body part by part; nothing is read ahead beyond a small buffer. */
export interface BodyReader {
  /** The next part, null at the end; rejects when the connection breaks or the request's signal aborts. */
  read(): Promise<Uint8Array | null>;
  /** Drops what is left, and with it the connection. */
  destroy(): void;
}

/** Status, the headers that matter, and the body to be read. */
export interface HttpResponse {
  status: number;
  /** In lower case, as media types mean the same in any. */
  contentType: string;
  retryAfter: string | null;
  body: BodyReader;
}

/** Sends one request; rejects with whatever the network said, or with the signal's reason. */
export interface Transport {
  send(request: HttpRequest): Promise<HttpResponse>;
  /** Calls back with the origin of each connection that is opened; absent where that cannot be known. */
  onConnection?(listener: (origin: string) => void): void;
  /** Drops every connection. */
  close(): Promise<void>;
}

/** A transport over an injected `fetch`. */
export function fetchTransport(fetch: FetchLike): Transport {
  return {
    async send({ method, origin, path, headers, body, signal }) {
      const response = await fetch(origin + path, { method, headers, body, signal, redirect: "manual" });
      const reader = response.body?.getReader();
      return {
        status: response.status,
        contentType: (response.headers.get("content-type") ?? "").toLowerCase(),
        retryAfter: response.headers.get("retry-after"),
        body: {
          read: async () => (await reader?.read())?.value ?? null,
          // a body that has failed already cannot be cancelled, and need not be
          destroy: () => void reader?.cancel().catch(() => undefined),
        },
      };
    },
    close: () => Promise.resolve(),
  };
}
