import type { Attempt } from "../http/attempt.js";
import { readComplaint } from "../http/engine-complaint.js";
import { invalidResponse, statusError } from "../http/engine-errors.js";
import type { HttpResponse } from "../http/transport.js";
import { CompletionStream } from "./completion-stream.js";
import { NotACompletion } from "./completion-wire.js";
import type { StreamFormat } from "./stream-format.js";

/** Reads a body; one that is none becomes the error that it is. */
export function checkedBody<Result>(attempt: Attempt, body: unknown, read: (body: unknown) => Result): Result {
  const { url } = attempt.connection;
  try {
    return read(body);
  } catch (error) {
    if (!(error instanceof NotACompletion)) throw error;
    if (error.complaint === undefined) throw invalidResponse(url, error.message);
    throw statusError(url, { status: 500, retryAfter: null }, readComplaint(JSON.stringify(body)));
  }
}

/** The stream of a response, which must be one. */
export function openStream(
  attempt: Attempt,
  response: HttpResponse,
  options: { maxEventBytes: number; format: StreamFormat; keepsRaw: boolean },
): CompletionStream {
  if (response.contentType.startsWith(options.format.contentType)) return new CompletionStream(attempt, response.body, options);
  response.body.destroy();
  throw invalidResponse(attempt.connection.url, `a stream was asked for and ${response.contentType || "no content type"} was sent`);
}
