import { z } from "zod";
import { ConflictError, ValidationError } from "../../errors.js";
import type { Attempt } from "../http/attempt.js";
import { AttemptError } from "../http/attempt-error.js";
import { isMissingRoute } from "../http/engine-complaint.js";
import { capabilityMissing, failedStatus } from "../http/engine-errors.js";
import { AdapterLimit } from "./adapter-limit.js";
import type { EngineDescription, EngineQuestion, EngineTraits } from "./engine.js";
import { OpenAiEngine } from "./openai-engine.js";

/**
 * vLLM, and the bundled runtime, which keeps the same contract: adapters come and go while it serves.
 * Never asks for `load_inplace`: changed weights under an old name may be answered from a stale cache, so a name is
 * loaded once and never again with another path.
 */
export class VllmEngine extends OpenAiEngine {
  override readonly traits: EngineTraits = { loadsAdapters: true, scoresAnswers: true, listsModels: true, speaksOpenAi: true };

  override async loadAdapter(attempt: Attempt, adapter: { id: string; path: string }): Promise<"loaded" | "already_loaded"> {
    try {
      await attempt.connection.send(attempt, "POST", "/v1/load_lora_adapter", { lora_name: adapter.id, lora_path: adapter.path });
      return "loaded";
    } catch (error) {
      const status = failedStatus(error);
      if (status === 400 && /already been loaded/i.test(messageOf(error))) {
        await this.expectSamePath(attempt, adapter);
        return "already_loaded";
      }
      if (status === 404 && lacksRoute(error)) throw this.cannotUpdate(attempt);
      if (status !== 400 && status !== 404 && !isWorkersRefusal(error)) throw error;
      throw this.refusal(attempt, adapter, error as AttemptError);
    }
  }

  override async unloadAdapter(attempt: Attempt, id: string): Promise<"unloaded" | "not_loaded"> {
    try {
      await attempt.connection.send(attempt, "POST", "/v1/unload_lora_adapter", { lora_name: id });
      return "unloaded";
    } catch (error) {
      if (failedStatus(error) !== 404) throw error;
      if (lacksRoute(error)) throw this.cannotUpdate(attempt);
      return "not_loaded";
    }
  }

  /** The bundled runtime says everything on its base model's card, vLLM some of it by its version and its metrics. */
  override async describe(attempt: Attempt): Promise<EngineDescription> {
    const described = await super.describe(attempt);
    if (described.instance !== null) return described;
    const version = Version.safeParse(await optional(attempt.connection.json(attempt, "GET", "/version")));
    const metrics = (await optional(attempt.connection.text(attempt, "/metrics"))) ?? "";
    return {
      ...described,
      version: version.success ? version.data.version : null,
      adapterSlots: numberOf(/^vllm:lora_requests_info\{[^}]*max_lora="(\d+)"/m.exec(metrics)?.[1]),
      instance: /^process_start_time_seconds (\S+)/m.exec(metrics)?.[1] ?? null,
    };
  }

  /** vLLM's health says whether its engine lives; the runtime's also answers while the model is still loading, its model list only after. */
  override async ping(attempt: Attempt): Promise<void> {
    await attempt.connection.send(attempt, "GET", "/health");
    await super.ping(attempt);
  }

  /** vLLM shares cached prefixes between all who ask, and how fast an answer comes tells of them; the bundled runtime shares none. */
  protected override questionBody(question: EngineQuestion): Record<string, unknown> {
    return { ...super.questionBody(question), cache_salt: question.cacheSalt };
  }

  protected override scoringFields(): object {
    return { return_tokens_as_token_ids: true };
  }

  protected override isAdapter(_id: string, parent: string | null): boolean {
    return parent !== null;
  }

  private async expectSamePath(attempt: Attempt, { id, path }: { id: string; path: string }): Promise<void> {
    const loaded = (await this.models(attempt)).find((model) => model.id === id);
    if (loaded?.path == null || sameFolder(loaded.path, path)) return;
    const { url } = attempt.connection;
    const message = `Adapter ${id} is loaded at ${url} from ${loaded.path}, not from ${path}. Adapter names are immutable: register the new files as a new version.`;
    const error = new ConflictError("adapter_state_conflict", message, { details: { id, endpoint: url, path: loaded.path } });
    throw new AttemptError(error, { failover: false, retry: false });
  }

  private cannotUpdate(attempt: Attempt): AttemptError {
    return capabilityMissing(
      attempt.connection.url,
      "it does not load adapters while it serves; start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
    );
  }

  private refusal(attempt: Attempt, { id, path }: { id: string; path: string }, cause: AttemptError): AttemptError {
    const { url } = attempt.connection;
    const message = `Adapter ${id} (${path}) was refused: ${cause.message}`;
    // the bundled runtime's limit of loaded adapters is not the adapter's fault
    if (/which is the limit/.test(cause.message)) return new AdapterLimit(cause.error, cause.options);
    const code = cause.error.code === "path_outside_root" ? "path_outside_root" : "adapter_invalid";
    const error = new ValidationError(code, message, { cause: cause.error, details: { id, path, endpoint: url } });
    return new AttemptError(error, { failover: false, retry: false });
  }
}

const Version = z.object({ version: z.string() });

/** What an engine need not have: an answer that is an error means that it does not say. */
async function optional<Value>(asking: Promise<Value>): Promise<Value | null> {
  try {
    return await asking;
  } catch (error) {
    if (typeof failedStatus(error) === "number" || (error instanceof AttemptError && error.error.code === "engine_response_invalid"))
      return null;
    throw error;
  }
}

function numberOf(digits: string | undefined): number | null {
  return digits === undefined ? null : Number(digits);
}

/** An engine may say the absolute folder of a path that was given relative to its root. */
function sameFolder(a: string, b: string): boolean {
  const [left, right] = [a, b].map((path) => path.replace(/^(\.\/)+/, "").replace(/\/+$/, "")) as [string, string];
  return left === right || left.endsWith(`/${right}`) || right.endsWith(`/${left}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "";
}

/** What vLLM's worker cannot read or has no place for (its weights, rank, modules) comes as a 500; a lack of memory is not the adapter's fault. */
function isWorkersRefusal(error: unknown): boolean {
  const message = error instanceof AttemptError ? (error.complaint?.message ?? "") : "";
  return /add_lora.*failed with error/i.test(message) && !/out of memory|CUDA/i.test(message);
}

function lacksRoute(error: unknown): boolean {
  return error instanceof AttemptError && error.complaint !== undefined && isMissingRoute(error.complaint);
}
