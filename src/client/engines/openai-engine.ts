import { z } from "zod";
import type { Attempt } from "../http/attempt.js";
import { capabilityMissing, invalidResponse } from "../http/engine-errors.js";
import type { CompletionStream } from "./completion-stream.js";
import { type Completion, readCompletion } from "./completion-wire.js";
import type { Engine, EngineDescription, EngineQuestion, EngineTraits, ScoredAnswer, ServedModel } from "./engine.js";
import { openAiBody } from "./openai-body.js";
import { checkedBody, openStream } from "./read-answer.js";
import { readScoredAnswer } from "./scored-answer.js";
import { SERVER_SENT_EVENTS } from "./stream-format.js";

/** What an engine of this family is told about time and size. */
export interface OpenAiEngineSettings {
  baseModel: string;
  headersMs: number;
  maxEventBytes: number;
}

/** Likeliest tokens that are asked for in the place of each token. */
const TOP_TOKENS = 5;

/** A model's card; the last five fields are the bundled runtime's own. */
const ModelCard = z.object({
  id: z.string(),
  root: z.string().nullish(),
  parent: z.string().nullish(),
  max_model_len: z.number().nullish(),
  sha256: z.string().nullish(),
  max_lora_rank: z.number().nullish(),
  max_adapters: z.number().nullish(),
  instance: z.string().nullish(),
  version: z.string().nullish(),
});
type ModelCard = z.infer<typeof ModelCard>;
const ModelList = z.object({ data: z.array(ModelCard) });

/** Any server with OpenAI's `/v1/chat/completions` and `/v1/models`; adapters are model names that it serves already. */
export class OpenAiEngine implements Engine {
  readonly traits: EngineTraits = { loadsAdapters: false, scoresAnswers: false, listsModels: false, speaksOpenAi: true };
  protected readonly settings: OpenAiEngineSettings;

  constructor(settings: OpenAiEngineSettings) {
    this.settings = settings;
  }

  async complete(attempt: Attempt, question: EngineQuestion): Promise<Completion> {
    const body = await attempt.connection.json(attempt, "POST", "/v1/chat/completions", this.questionBody(question));
    return checkedBody(attempt, body, readCompletion);
  }

  async stream(attempt: Attempt, question: EngineQuestion): Promise<CompletionStream> {
    const { connection } = attempt;
    attempt.enter("headers", this.settings.headersMs);
    const body = { ...this.questionBody(question), stream: true, stream_options: { include_usage: true } };
    const response = await connection.open(attempt, "POST", "/v1/chat/completions", SERVER_SENT_EVENTS.contentType, body);
    attempt.park();
    return openStream(attempt, response, {
      maxEventBytes: this.settings.maxEventBytes,
      format: SERVER_SENT_EVENTS,
      keepsRaw: question.body !== undefined,
    });
  }

  async score(attempt: Attempt, question: Pick<EngineQuestion, "model" | "messages" | "maxTokens">): Promise<ScoredAnswer> {
    const body = {
      ...openAiBody({ ...question, temperature: 0 }),
      logprobs: true,
      top_logprobs: TOP_TOKENS,
      ...this.scoringFields(),
    };
    return checkedBody(attempt, await attempt.connection.json(attempt, "POST", "/v1/chat/completions", body), readScoredAnswer);
  }

  async describe(attempt: Attempt): Promise<EngineDescription> {
    return descriptionOf(await this.cards(attempt), this.settings.baseModel, (card) => this.servedModel(card));
  }

  async models(attempt: Attempt): Promise<ServedModel[]> {
    return (await this.cards(attempt)).map((card) => this.servedModel(card));
  }

  async loadAdapter(attempt: Attempt, { id }: { id: string; path: string }): Promise<"loaded" | "already_loaded"> {
    const served = await this.models(attempt);
    if (served.some((model) => model.id === id)) return "already_loaded";
    throw capabilityMissing(
      attempt.connection.url,
      `adapter ${id} cannot be loaded over this API; start the server with it, under the name ${id}`,
    );
  }

  async unloadAdapter(attempt: Attempt, id: string): Promise<"unloaded" | "not_loaded"> {
    const served = await this.models(attempt);
    if (!served.some((model) => model.id === id)) return "not_loaded";
    throw capabilityMissing(attempt.connection.url, `adapter ${id} cannot be unloaded over this API`);
  }

  async ping(attempt: Attempt): Promise<void> {
    await attempt.connection.json(attempt, "GET", "/v1/models");
  }

  protected questionBody(question: EngineQuestion): Record<string, unknown> {
    return openAiBody(question);
  }

  /** More fields of a request for log-probabilities; a strict server refuses what it does not know. */
  protected scoringFields(): object {
    return {};
  }

  protected isAdapter(id: string, parent: string | null): boolean {
    return parent !== null || id !== this.settings.baseModel;
  }

  protected async cards(attempt: Attempt): Promise<ModelCard[]> {
    const parsed = ModelList.safeParse(await attempt.connection.json(attempt, "GET", "/v1/models"));
    if (!parsed.success) throw invalidResponse(attempt.connection.url, "/v1/models is not a list of models", parsed.error);
    return parsed.data.data;
  }

  private servedModel({ id, root, parent, sha256 }: ModelCard): ServedModel {
    return { id, path: root ?? null, isAdapter: this.isAdapter(id, parent ?? null), sha256: sha256 ?? null };
  }
}

function descriptionOf(cards: readonly ModelCard[], baseModel: string, modelOf: (card: ModelCard) => ServedModel): EngineDescription {
  const base = cards.find(({ id }) => id === baseModel);
  return {
    version: base?.version ?? null,
    models: cards.map(modelOf),
    maxModelLength: base?.max_model_len ?? null,
    maxLoraRank: base?.max_lora_rank ?? null,
    adapterSlots: base?.max_adapters ?? null,
    instance: base?.instance ?? null,
  };
}
