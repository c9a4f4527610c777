import { z } from "zod";
import { ConversationTurn, Metadata, Slug, ToolCall } from "./common.js";
import { RecalledCorrection } from "./memory.js";
import { RoutingDecision } from "./routing.js";

/** What form an answer must have; the engine holds the model to it. */
export const ResponseFormat = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text") }),
  z.object({ type: z.literal("json_object") }),
  z.object({ type: z.literal("json_schema"), name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/), schema: z.record(z.string(), z.json()) }),
]);
export type ResponseFormat = z.infer<typeof ResponseFormat>;

/** A function of the application that the model may ask to be called. */
export const ToolDefinition = z.object({
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
  description: z.string().optional(),
  /** JSON Schema of its arguments. */
  parameters: z.record(z.string(), z.json()).optional(),
});
export type ToolDefinition = z.infer<typeof ToolDefinition>;

/** Part of a tool call in a stream: its name and id come first, its arguments in pieces. */
export const ToolCallDelta = z.object({
  index: z.number().int(),
  id: z.string().optional(),
  name: z.string().optional(),
  arguments: z.string().optional(),
});
export type ToolCallDelta = z.infer<typeof ToolCallDelta>;

/** What `generate`, `stream` and `generateBatch` take: `messages` or `prompt`. */
export const GenerationRequest = z
  .strictObject({
    messages: z.array(ConversationTurn).min(1).optional(),
    /** Short for one user message. */
    prompt: z.string().min(1).optional(),
    /** Pins an adapter (`name@vN`); null pins the base model; absent lets the router choose. */
    adapterId: z.string().min(1).max(256).nullable().optional(),
    /** False: no routing, the base model answers. Default true. */
    route: z.boolean().default(true),
    /** Hint for the router, without the tenant: of a tenant's request it means the tenant's own adapter where there is one. */
    domain: Slug.optional(),
    /**
     * True: accepted corrections of questions that ask the same are given to the model, until an adapter has learnt them. Of `metadata` the
     * `tenant` counts: corrections of another tenant are never given. Default false.
     */
    memory: z.boolean().default(false),
    /** Default 256. */
    maxTokens: z.number().int().min(1).max(131_072).optional(),
    /** 0..2; default .7. */
    temperature: z.number().min(0).max(2).optional(),
    /** 0..1. */
    topP: z.number().min(0).max(1).optional(),
    stop: z.union([z.string(), z.array(z.string()).max(16)]).optional(),
    seed: z.number().int().optional(),
    /** Default: text. */
    responseFormat: ResponseFormat.optional(),
    tools: z.array(ToolDefinition).max(128).optional(),
    /** `auto` (default where there are tools), `none`, `required`, or the one to call. */
    toolChoice: z.union([z.enum(["auto", "none", "required"]), z.object({ name: z.string() })]).optional(),
    subjectId: z.string().max(256).optional(),
    /**
     * The host's own; one field counts: `tenant`, whose request it is. Then adapters of this tenant and those that are nobody's may answer, its
     * corrections and documents may help, and vLLM shares no cached prefix of it with others. Without it only what is nobody's.
     */
    metadata: Metadata.optional(),
  })
  .refine((value) => (value.messages === undefined) !== (value.prompt === undefined), { message: "give messages or prompt, not both" })
  .refine(({ toolChoice, tools = [] }) => typeof toolChoice !== "object" || tools.some(({ name }) => name === toolChoice.name), {
    path: ["toolChoice"],
    message: "name one of the tools",
  });
export type GenerationRequest = z.input<typeof GenerationRequest>;

export const GenerationResult = z.object({
  /** Feedback names the generation by it. */
  id: z.string(),
  text: z.string(),
  adapterId: z.string().nullable(),
  /** 0..1; null where nothing was routed. */
  routingConfidence: z.number().nullable(),
  routing: RoutingDecision.optional(),
  usage: z.object({ promptTokens: z.number().int(), completionTokens: z.number().int() }),
  /** What the model asks the application to call; absent where it asks for nothing. */
  toolCalls: z.array(ToolCall).optional(),
  finishReason: z.string(),
  model: z.string(),
  endpoint: z.string(),
  latencyMs: z.number(),
  /** Corrections that the model was given, with `memory: true`; absent where there were none. */
  memory: z.array(RecalledCorrection).optional(),
  /** Proves to `addFeedback` that this answer was given to this `subjectId`; where receipts are signed. */
  receipt: z.string().optional(),
});
export type GenerationResult = z.infer<typeof GenerationResult>;

/** A served answer with what was asked, as it is recorded. */
export interface RecordedGeneration extends GenerationResult {
  /** Content of the last user message. */
  prompt: string;
  messages: readonly ConversationTurn[];
  subjectId?: string;
  /** The request's domain, or else the one that the router found. */
  domain?: string;
  metadata?: Metadata;
  /** ISO 8601. */
  createdAt: string;
}

/** One piece of a stream. */
export const GenerationChunk = z.object({
  text: z.string(),
  toolCalls: z.array(ToolCallDelta).optional(),
});
export type GenerationChunk = z.infer<typeof GenerationChunk>;
