import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ValidationError } from "../../errors.js";
import type { Attempt } from "../http/attempt.js";
import { AttemptError } from "../http/attempt-error.js";
import { capabilityMissing, failedStatus, invalidResponse } from "../http/engine-errors.js";
import type { CompletionStream } from "./completion-stream.js";
import type { Completion } from "./completion-wire.js";
import type { Engine, EngineDescription, EngineQuestion, EngineTraits, ScoredAnswer, ServedModel } from "./engine.js";
import { chatBody, readOllamaAnswer, readOllamaEvent, readOllamaScores } from "./ollama-wire.js";
import type { OpenAiEngineSettings } from "./openai-engine.js";
import { checkedBody, openStream } from "./read-answer.js";
import { jsonLines } from "./stream-format.js";

const ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"] as const;
const TOP_TOKENS = 5;
const LINES = jsonLines(readOllamaEvent);

const Tags = z.object({
  models: z.array(z.object({ name: z.string(), digest: z.string().nullish() })),
});
const ADAPTER_ID = /@v\d+$/;

const Version = z.object({ version: z.string() });
const Status = z.object({ status: z.string() });

/**
 * Ollama by its own API. It has no adapters that come and go beside a model: `loadAdapter` makes a model of base and adapter (`/api/create`),
 * under the adapter's name with a colon, and needs to read the adapter's folder for that. What its version cannot convert is a capability
 * gap, named.
 */
export class OllamaEngine implements Engine {
  readonly traits: EngineTraits = { loadsAdapters: true, scoresAnswers: false, listsModels: true, speaksOpenAi: false };
  private readonly settings: OpenAiEngineSettings;

  constructor(settings: OpenAiEngineSettings) {
    this.settings = settings;
  }

  async complete(attempt: Attempt, question: EngineQuestion): Promise<Completion> {
    const body = await attempt.connection.json(attempt, "POST", "/api/chat", { ...named(chatBody(question)), stream: false });
    const { model, ...answer } = checkedBody(attempt, body, readOllamaAnswer);
    return { ...answer, model: model === null ? null : this.idOf(model) };
  }

  async stream(attempt: Attempt, question: EngineQuestion): Promise<CompletionStream> {
    attempt.enter("headers", this.settings.headersMs);
    const body = { ...named(chatBody(question)), stream: true };
    const response = await attempt.connection.open(attempt, "POST", "/api/chat", LINES.contentType, body);
    attempt.park();
    return openStream(attempt, response, { maxEventBytes: this.settings.maxEventBytes, format: LINES, keepsRaw: false });
  }

  async score(attempt: Attempt, question: Pick<EngineQuestion, "model" | "messages" | "maxTokens">): Promise<ScoredAnswer> {
    const body = { ...named(chatBody({ ...question, temperature: 0 })), stream: false, logprobs: true, top_logprobs: TOP_TOKENS };
    return checkedBody(attempt, await attempt.connection.json(attempt, "POST", "/api/chat", body), readOllamaScores);
  }

  async describe(attempt: Attempt): Promise<EngineDescription> {
    const version = Version.safeParse(await attempt.connection.json(attempt, "GET", "/api/version"));
    return {
      version: version.success ? version.data.version : null,
      models: await this.models(attempt),
      maxModelLength: null,
      maxLoraRank: null,
      adapterSlots: null,
      instance: null,
    };
  }

  async models(attempt: Attempt): Promise<ServedModel[]> {
    const parsed = Tags.safeParse(await attempt.connection.json(attempt, "GET", "/api/tags"));
    if (!parsed.success) throw invalidResponse(attempt.connection.url, "/api/tags is not a list of models", parsed.error);
    return parsed.data.models.map(({ name, digest }) => {
      const id = this.idOf(name);
      // what a model was made of is not said: the form of the name tells
      return { id, path: null, isAdapter: ADAPTER_ID.test(id), sha256: digest ?? null };
    });
  }

  async loadAdapter(attempt: Attempt, { id, path }: { id: string; path: string }): Promise<"loaded" | "already_loaded"> {
    if ((await this.models(attempt)).some((model) => model.id === id)) return "already_loaded";
    const adapters: Record<string, string> = {};
    for (const name of ADAPTER_FILES) {
      const content = await this.read(attempt, { id, path }, name);
      const digest = `sha256:${createHash("sha256").update(content).digest("hex")}`;
      if (!(await this.hasBlob(attempt, digest))) await attempt.connection.send(attempt, "POST", `/api/blobs/${digest}`, content);
      adapters[name] = digest;
    }
    const body = { model: modelName(id), from: this.settings.baseModel, adapters, stream: false };
    const answer = Status.safeParse(await attempt.connection.json(attempt, "POST", "/api/create", body).catch(this.gap(attempt, id)));
    if (answer.success && answer.data.status === "success") return "loaded";
    throw invalidResponse(attempt.connection.url, `/api/create did not succeed for adapter ${id}`);
  }

  async unloadAdapter(attempt: Attempt, id: string): Promise<"unloaded" | "not_loaded"> {
    try {
      await attempt.connection.send(attempt, "DELETE", "/api/delete", { model: modelName(id) });
      return "unloaded";
    } catch (error) {
      if (failedStatus(error) === 404) return "not_loaded";
      throw error;
    }
  }

  async ping(attempt: Attempt): Promise<void> {
    await attempt.connection.json(attempt, "GET", "/api/version");
  }

  private async hasBlob(attempt: Attempt, digest: string): Promise<boolean> {
    try {
      await attempt.connection.send(attempt, "HEAD", `/api/blobs/${digest}`);
      return true;
    } catch (error) {
      if (failedStatus(error) === 404) return false;
      throw error;
    }
  }

  private async read(attempt: Attempt, { id, path }: { id: string; path: string }, name: string): Promise<Uint8Array> {
    const file = join(path, name);
    try {
      return await readFile(file);
    } catch (cause) {
      const { url } = attempt.connection;
      const message = `Adapter ${id} cannot be sent to Ollama at ${url}, since ${file} cannot be read here (${(cause as NodeJS.ErrnoException).code}).`;
      const error = new ValidationError("adapter_invalid", message, { details: { id, path, endpoint: url }, cause });
      throw new AttemptError(error, { failover: false, retry: false });
    }
  }

  /** What Ollama says of an adapter that it cannot convert, as a gap of this engine's. */
  private gap(attempt: Attempt, id: string) {
    return (error: unknown): never => {
      const message = error instanceof AttemptError ? error.message : "";
      if (/unsupported|unknown (type|architecture)|no adapter/i.test(message)) {
        throw capabilityMissing(attempt.connection.url, `adapter ${id} cannot be converted by this version of Ollama (${message})`, error);
      }
      throw error;
    };
  }

  /** `name:latest` is what Ollama calls a model without a tag; an adapter's version is its tag. */
  private idOf(name: string): string {
    const { baseModel } = this.settings;
    if (name === baseModel || name === `${baseModel}:latest`) return baseModel;
    return name.replace(/:(v\d+)$/, "@$1");
  }
}

/** Ollama's names have no `@`: the version of an adapter becomes the tag. */
function modelName(id: string): string {
  return id.replace(/@(v\d+)$/, ":$1");
}

function named(body: Record<string, unknown>): Record<string, unknown> {
  return { ...body, model: modelName(String(body.model)) };
}
