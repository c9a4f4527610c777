import { z } from "zod";
import { ConfigurationError } from "../../errors.js";
import type { Attempt } from "../http/attempt.js";
import { AttemptError } from "../http/attempt-error.js";
import { invalidResponse, readComplaint, statusError } from "../http/engine-errors.js";
import { CompletionStream } from "./completion-stream.js";
import { type CompletionEvent, NotACompletion, readCompletion } from "./completion-wire.js";
import type { Engine, EngineQuestion, ServedModel } from "./engine.js";

/** What an engine of this family is told about time and size. */
export interface OpenAiEngineSettings {
  baseModel: string;
  headersMs: number;
  maxEventBytes: number;
}

const ModelList = z.object({
  data: z.array(z.object({ id: z.string(), root: z.string().nullish(), parent: z.string().nullish() })),
});

/** Any server with OpenAI's `/v1/chat/completions` and `/v1/models`; adapters are model names that it serves already. */
export class OpenAiEngine implements Engine {
  protected readonly settings: OpenAiEngineSettings;

  constructor(settings: OpenAiEngineSettings) {
    this.settings = settings;
  }

  async complete(attempt: Attempt, question: EngineQuestion): Promise<CompletionEvent> {
    const { connection } = attempt;
    const body = await connection.json(attempt, "POST", "/v1/chat/completions", bodyOf(question));
    try {
      return readCompletion(body);
    } catch (error) {
      if (!(error instanceof NotACompletion)) throw error;
      if (error.complaint === undefined) throw invalidResponse(connection.url, error.message);
      throw statusError(connection.url, { status: 500, retryAfter: null }, readComplaint(JSON.stringify(body)));
    }
  }

  async stream(attempt: Attempt, question: EngineQuestion): Promise<CompletionStream> {
    const { connection } = attempt;
    attempt.enter("headers", this.settings.headersMs);
    const body = { ...bodyOf(question), stream: true, stream_options: { include_usage: true } };
    const response = await connection.open(attempt, "POST", "/v1/chat/completions", "text/event-stream", body);
    attempt.park();
    if (!response.contentType.startsWith("text/event-stream")) {
      response.body.destroy();
      throw invalidResponse(connection.url, `a stream was asked for and ${response.contentType || "no content type"} was sent`);
    }
    return new CompletionStream(attempt, response.body, this.settings.maxEventBytes);
  }

  async models(attempt: Attempt): Promise<ServedModel[]> {
    const parsed = ModelList.safeParse(await attempt.connection.json(attempt, "GET", "/v1/models"));
    if (!parsed.success) throw invalidResponse(attempt.connection.url, "/v1/models is not a list of models", parsed.error);
    return parsed.data.data.map(({ id, root, parent }) => ({ id, path: root ?? null, isAdapter: this.isAdapter(id, parent ?? null) }));
  }

  async loadAdapter(attempt: Attempt, { id }: { id: string; path: string }): Promise<"loaded" | "already_loaded"> {
    const served = await this.models(attempt);
    if (served.some((model) => model.id === id)) return "already_loaded";
    throw this.cannot(attempt, `adapter ${id} cannot be loaded over this API; start the server with it, under the name ${id}`);
  }

  async unloadAdapter(attempt: Attempt, id: string): Promise<"unloaded" | "not_loaded"> {
    const served = await this.models(attempt);
    if (!served.some((model) => model.id === id)) return "not_loaded";
    throw this.cannot(attempt, `adapter ${id} cannot be unloaded over this API`);
  }

  async ping(attempt: Attempt): Promise<void> {
    await attempt.connection.json(attempt, "GET", "/v1/models");
  }

  protected isAdapter(id: string, parent: string | null): boolean {
    return parent !== null || id !== this.settings.baseModel;
  }

  protected cannot(attempt: Attempt, what: string): AttemptError {
    const { url } = attempt.connection;
    const error = new ConfigurationError("capability_missing", `The engine at ${url}: ${what}.`, { details: { endpoint: url } });
    return new AttemptError(error, { failover: false, retry: false });
  }
}

function bodyOf({ model, messages, maxTokens, temperature, topP, stop, seed }: EngineQuestion): object {
  // JSON leaves undefined fields out
  return { model, messages, max_tokens: maxTokens, temperature, top_p: topP, stop, seed };
}
