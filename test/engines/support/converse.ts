import { type Names, neutral, shapeOfBody } from "./shape-of-body.js";

/** One request of a conversation and what came back, without what differs from machine to machine. */
export interface Exchange {
  request: { method: string; path: string; body?: unknown };
  response: { status: number; contentType: string; body: unknown };
}

/** Says one thing to an engine. */
export type Say = (method: string, path: string, body?: object | Uint8Array) => Promise<void>;

/**
 * Has a conversation with an engine over plain HTTP and writes it down: statuses, content types, and the shape of every body. What the
 * model says is left out, what the protocol says stays, so that the same record must come from the engine and from its stand-in.
 */
export async function converse(place: { url: string; token?: string; names: Names }, talk: (say: Say) => Promise<void>): Promise<string> {
  const exchanges: Exchange[] = [];
  await talk(async (method, path, body) => {
    const isBinary = body instanceof Uint8Array;
    const response = await fetch(place.url + path, {
      method,
      headers: {
        "content-type": isBinary ? "application/octet-stream" : "application/json",
        ...(place.token ? { authorization: `Bearer ${place.token}` } : {}),
      },
      body: body === undefined ? undefined : isBinary ? new Blob([new Uint8Array(body)]) : JSON.stringify(body),
    });
    exchanges.push({
      request: {
        method,
        path: neutral(path, place.names) as string,
        ...(body === undefined || isBinary ? {} : { body: neutral(body, place.names) }),
      },
      response: {
        status: response.status,
        contentType: (response.headers.get("content-type") ?? "").split(";")[0]!,
        body: shapeOfBody(await response.text(), place.names),
      },
    });
  });
  return `${JSON.stringify(exchanges, null, 2)}\n`;
}
