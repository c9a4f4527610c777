import type { ServingClient } from "../client/index.js";
import type { GenerationRequest } from "../types/index.js";

/** What a client of OpenAI's API calls in place of the network. */
export type ClaraFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** What holds for every question through one `fetch`; a request's own `user` and pinned model are kept where these say nothing. */
export type ClaraFetchOptions = Pick<GenerationRequest, "domain" | "subjectId" | "metadata" | "memory">;

/**
 * A `fetch` whose `POST …/chat/completions` is answered by CLARA in this process, and `GET …/models` with what its engines serve. Nothing
 * goes over the network from here: the base URL of the client only has to be one. The id of an answer is the one by which feedback names it.
 * @example
 * ```ts
 * import OpenAI from "openai";
 * import { claraFetch } from "clara-sdk/openai";
 * const openai = new OpenAI({ apiKey: "none", baseURL: "http://clara.invalid/v1", fetch: claraFetch(clara) });
 * const { id, choices } = await openai.chat.completions.create({ model: "auto", messages: [{ role: "user", content: text }] });
 * await clara.pipeline.addFeedback({ generationId: id, rating: 1 });
 * ```
 */
export function claraFetch(clara: { serving: ServingClient }, options: ClaraFetchOptions = {}): ClaraFetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const { pathname } = new URL(request.url);
    if (request.method === "POST" && pathname.endsWith("/chat/completions")) {
      const body = await bodyOf(request);
      return body instanceof Response ? body : clara.serving.chatCompletions(body, { ...options, signal: request.signal });
    }
    if (request.method === "GET" && pathname.endsWith("/models")) return models(clara.serving, request.signal);
    return refusal(404, `CLARA answers POST /chat/completions and GET /models, not ${request.method} ${pathname}.`);
  };
}

async function bodyOf(request: Request): Promise<unknown> {
  try {
    return await request.json();
  } catch {
    return refusal(400, "The body is not JSON.");
  }
}

async function models(serving: ServingClient, signal: AbortSignal): Promise<Response> {
  const adapters = await serving.listAdapters({ signal });
  const ids = ["auto", serving.options.baseModel, ...adapters.map(({ id }) => id)];
  return Response.json({ object: "list", data: ids.map((id) => ({ id, object: "model", created: 0, owned_by: "clara" })) });
}

function refusal(status: number, message: string): Response {
  return Response.json({ error: { message, type: "invalid_request_error", code: null, param: null } }, { status });
}
