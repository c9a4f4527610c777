import { z } from "zod";
import { ValidationError } from "../../errors.js";
import { adapterNotFound } from "../../support/adapter-not-found.js";
import { cacheSaltOf, givenTenant, mayAnswer, refuseForeignDomain } from "../../support/tenancy.js";
import { AdapterIdentity } from "../../types/adapter.js";
import type { ConversationTurn, Metadata } from "../../types/common.js";
import { GenerationRequest } from "../../types/generation.js";
import type { RecalledCorrection } from "../../types/memory.js";
import type { RoutingDecision } from "../../types/routing.js";
import type { AdapterFiles } from "../adapter-placement.js";
import type { EngineQuestion } from "../engines/engine.js";
import type { ResolvedServingOptions } from "../options.js";
import type { AdapterDirectory } from "../ports.js";
import { RevokedAdapter } from "../revoked-adapter.js";
import { recall, withNote } from "./with-memory.js";

/** A checked request, and what will be asked of the engine. */
export interface PreparedRequest {
  messages: readonly ConversationTurn[];
  /** Content of the last user message, for the record. */
  prompt: string;
  adapterId: string | null;
  routing: RoutingDecision | undefined;
  question: EngineQuestion;
  /** Corrections that the model is given. */
  recalled: RecalledCorrection[];
  subjectId?: string;
  domain?: string;
  metadata?: Metadata;
}

/**
 * Checks a request and lets the router choose where it pins nothing. Throws `ValidationError` `input_invalid` naming the field,
 * `NotFoundError` `adapter_not_found` where it pins another tenant's adapter, and `RevokedAdapter` where it pins one.
 */
export async function prepareRequest(
  request: GenerationRequest,
  options: ResolvedServingOptions,
  signal: AbortSignal,
  body?: EngineQuestion["body"],
): Promise<PreparedRequest> {
  const checked = GenerationRequest.safeParse(request);
  if (!checked.success) throw inputError(checked.error);
  const { prompt, adapterId, route, domain, maxTokens, temperature, topP, stop, seed, subjectId, metadata } = checked.data;
  const { responseFormat, tools, toolChoice } = checked.data;
  const messages = checked.data.messages ?? [{ role: "user" as const, content: prompt ?? "" }];
  const isPinned = adapterId !== undefined;
  const tenant = givenTenant(metadata);
  if (domain !== undefined) refuseForeignDomain(domain, tenant);
  if (typeof adapterId === "string") {
    if (adapterId === options.baseModel) throw fieldError("adapterId", `${adapterId} is the base model; pin that with null`);
    // by the name alone and at once: neither words nor time tell another tenant's adapter from one that is not there
    if (!mayAnswer(adapterId, tenant)) throw adapterNotFound(adapterId);
    await refuseRevoked(adapterId, options.adapters, signal);
  }
  const routing =
    isPinned || !route ? undefined : await options.router?.route(messages, { domain, subjectId, tenant: tenant ?? undefined, signal });
  const chosen = (isPinned ? adapterId : routing?.adapterId) ?? null;
  const scope = { domain: domain ?? routing?.domain, metadata, signal };
  const recalled = checked.data.memory ? await recall(messages, options, scope) : [];
  return {
    messages,
    prompt: prompt ?? messages.findLast((turn) => turn.role === "user")?.content ?? "",
    adapterId: chosen,
    routing,
    question: {
      model: chosen ?? options.baseModel,
      messages: withNote(messages, recalled),
      maxTokens: maxTokens ?? options.maxTokens,
      temperature: temperature ?? options.temperature,
      topP,
      stop,
      seed,
      responseFormat,
      tools,
      toolChoice,
      cacheSalt: tenant === null ? undefined : cacheSaltOf(tenant),
      body: body === undefined ? undefined : { ...body, messages: withNote(body.messages as { role: string }[], recalled) },
    },
    recalled,
    subjectId,
    domain: domain ?? routing?.domain,
    metadata,
  };
}

/** The router chooses no such adapter, but a pin passes it by, and an engine may have it loaded still. */
async function refuseRevoked(id: string, directory: AdapterDirectory | undefined, signal: AbortSignal): Promise<void> {
  const reason = (await directory?.revokedReason?.(id, { signal })) ?? null;
  if (reason !== null) throw new RevokedAdapter(id, reason);
}

/** Part of a path on the engine's machine, a header and a log line. */
const AdapterName = z
  .string()
  .min(1)
  .max(256)
  .regex(/^(?!\.{1,2}$)[^\s/\\\p{Cc}\p{Cf}]+$/u, "give a name without spaces, slashes and control characters, for example building@v3");

const LoadInput = z.object({
  id: AdapterName,
  path: z.string().min(1).max(4_096),
  identity: AdapterIdentity.optional(),
  predecessorId: z.string().nullish(),
});

/** Checks what `loadAdapter` takes; an engine would answer for its base model with an adapter of that name. */
export function checkAdapterFiles(adapter: AdapterFiles, baseModel: string): AdapterFiles {
  const checked = LoadInput.safeParse(adapter);
  if (!checked.success) throw inputError(checked.error);
  if (checked.data.id === baseModel) throw fieldError("id", `${baseModel} is the name of the base model`);
  return checked.data;
}

/** Checks the id that a call names. */
export function checkAdapterId(id: string): string {
  const checked = AdapterName.safeParse(id);
  if (checked.success) return checked.data;
  throw fieldError("id", checked.error.issues[0]!.message);
}

function fieldError(field: string, message: string): ValidationError {
  return new ValidationError("input_invalid", `${field}: ${message}`, { details: { field } });
}

function inputError(error: z.ZodError): ValidationError {
  const issue = error.issues[0];
  const field = issue?.path.join(".") || "request";
  return new ValidationError("input_invalid", `${field}: ${issue?.message}`, { cause: error, details: { field } });
}
