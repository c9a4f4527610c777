import { z } from "zod";
import { ConfigurationError } from "../errors.js";
import type { EndpointProvider, Logger } from "../types/common.js";
import type { FetchLike } from "./http/transport.js";
import type { AdapterDirectory, CorrectionSource, GenerationRecorder, RequestRouter } from "./ports.js";
import { PROOF_DEFAULTS, type ProofOptions } from "./proof/prove-adapter.js";

/**
 * - `runtime`: the bundled GPU runtime. `vllm`: vLLM with `--enable-lora`. Both load adapters while they serve.
 * - `ollama`: Ollama by its own API; `loadAdapter` makes a model of base and adapter, where its version can.
 * - `openai-compatible`: any server with `/v1/chat/completions`; an adapter is a model name that it serves already.
 */
export type EngineKind = "runtime" | "vllm" | "ollama" | "openai-compatible";

/** Milliseconds; each is an error of its own (`request_timeout`), but for `connectMs` (`engine_unavailable`). */
export interface ServingTimeouts {
  /** To open the TCP or TLS connection. Default 5,000. */
  connectMs: number;
  /** From the request to the headers of a stream (some engines send them with the first token). A whole answer's headers follow its
   * last token, so `totalMs` bounds them. Default 120,000. */
  headersMs: number;
  /** From the headers to the first text of a stream. Default 120,000. */
  firstTokenMs: number;
  /** Between two events of a stream; the time that the reader takes does not count. Default 60,000. */
  idleMs: number;
  /** The whole call with its waiting, its retries and its stream. Default 600,000. */
  totalMs: number;
  /** Loading and unloading an adapter, listing models. Default 120,000. */
  adminMs: number;
  /** One endpoint's answer to `health()`. Default 5,000. */
  healthMs: number;
}

/** What is tried again: refused or lost connections, 429, 502, 503, 504; never after the first text was given out. */
export interface ServingRetries {
  /** Tries after the first; another endpoint is tried at once and does not count. Default 2. 0 = none. */
  max: number;
  /** First delay in milliseconds; doubled each time and multiplied by a random number from 1 to 2. Default 250. */
  minDelayMs: number;
  /** Default 10,000. */
  maxDelayMs: number;
  /** The longest `retry-after` that is waited for; beyond it the call fails at once with it. Default 30,000. */
  maxRetryAfterMs: number;
}

/** A second endpoint is asked where the first has given no text after a while; the first text wins. Costs the engines more work. */
export interface ServingHedging {
  /** Milliseconds without a text, for example what 95 of 100 first tokens take less than. */
  afterMs: number;
}

/** How endpoints are watched beside the calls. */
export interface ServingHealth {
  /** Milliseconds between looks at every endpoint that was reached once; 0 = none, and only calls tell. Default 10,000. */
  intervalMs: number;
}

/** What `new ServingClient(…)` takes. */
export interface ServingClientOptions {
  /** Default `openai-compatible`. */
  engine?: EngineKind;
  /** Base URLs, with or without `/v1`, or providers that are asked before each call. */
  endpoints: readonly (string | EndpointProvider)[];
  /** Served name of the base model. Default `base`. */
  baseModel?: string;
  /** SHA-256 of the base model's weights; an engine that says another is refused. Only the bundled runtime says one. Default: any. */
  baseModelSha256?: string;
  /** Bearer token for URL endpoints; a provider brings its own. */
  token?: string;
  /** Chooses the adapter where a request pins none. Default: the base model answers. */
  router?: RequestRouter;
  /**
   * Where an adapter is loaded from again when an engine was restarted, or had let it go since it holds only so many (the bundled runtime:
   * `--max-adapters`). Default: such a call fails, and a full engine refuses one more.
   */
  adapters?: AdapterDirectory;
  /** Gets each answer after its end. Default: none. */
  recorder?: GenerationRecorder;
  /** Replaces the built-in HTTP client; `connectMs` is then its own business. */
  fetch?: FetchLike;
  timeouts?: Partial<ServingTimeouts>;
  retries?: Partial<ServingRetries>;
  /** Default false. */
  hedging?: ServingHedging | false;
  health?: Partial<ServingHealth>;
  /** How engines show that they serve what was trained. */
  proof?: Partial<ProofOptions>;
  /** Milliseconds that running requests have before their adapter is unloaded. Default 5,000. */
  drainMs?: number;
  /** Requests at once per endpoint. Default 64. */
  maxConcurrency?: number;
  /** Requests that may wait per endpoint; beyond it a call fails with `overloaded`. Default 1,024. */
  maxWaiting?: number;
  /** Bytes one event of a stream may have. Default 1 MiB. */
  maxEventBytes?: number;
  /** Bytes a whole answer may have. Default 16 MiB. */
  maxResponseBytes?: number;
  /** Tokens where a request says nothing. Default 256. */
  maxTokens?: number;
  /** Where a request says nothing. Default .7. */
  temperature?: number;
  /** Where `memory: true` finds users' corrections. Default: none, and such a request is refused. */
  memory?: CorrectionSource;
  /** Signs each answer's `receipt`, by which `addFeedback` knows that it was given to its `subjectId`. Default: none. */
  receiptSecret?: string;
  /** Default: silence. */
  logger?: Logger;
}

/** The defaults of {@link ServingClientOptions}. */
export const DEFAULTS = {
  engine: "openai-compatible",
  baseModel: "base",
  timeouts: {
    connectMs: 5_000,
    headersMs: 120_000,
    firstTokenMs: 120_000,
    idleMs: 60_000,
    totalMs: 600_000,
    adminMs: 120_000,
    healthMs: 5_000,
  },
  retries: { max: 2, minDelayMs: 250, maxDelayMs: 10_000, maxRetryAfterMs: 30_000 },
  hedging: false,
  health: { intervalMs: 10_000 },
  proof: PROOF_DEFAULTS,
  drainMs: 5_000,
  maxConcurrency: 64,
  maxWaiting: 1_024,
  maxEventBytes: 1_048_576,
  maxResponseBytes: 16_777_216,
  maxTokens: 256,
  temperature: 0.7,
} as const satisfies Partial<ServingClientOptions>;

type Defaulted =
  | "engine"
  | "baseModel"
  | "hedging"
  | "drainMs"
  | "maxConcurrency"
  | "maxWaiting"
  | "maxEventBytes"
  | "maxResponseBytes"
  | "maxTokens"
  | "temperature";

/** Options with every default filled in; frozen. */
export type ResolvedServingOptions = Readonly<
  Omit<ServingClientOptions, Defaulted | "timeouts" | "retries" | "health" | "proof"> &
    Required<Pick<ServingClientOptions, Defaulted>> & {
      timeouts: Readonly<ServingTimeouts>;
      retries: Readonly<ServingRetries>;
      health: Readonly<ServingHealth>;
      proof: Readonly<ProofOptions>;
      logger: Logger;
    }
>;

// Node's timers count in 32 bits: more would fire at once
const milliseconds = z.number().int().min(1).max(2_147_483_647);
const count = z.number().int().min(1);

const Shape = z.strictObject({
  engine: z.enum(["runtime", "vllm", "ollama", "openai-compatible"]),
  endpoints: z
    .array(z.custom<string | EndpointProvider>(isPlace, "give a URL or an endpoint provider"), "give a list of URLs or endpoint providers")
    .min(1, "give at least one endpoint"),
  baseModel: z.string().min(1),
  baseModelSha256: z.string().optional(),
  token: z.string().optional(),
  router: z.custom<RequestRouter>(has("route"), "give an object with the method route").optional(),
  adapters: z.custom<AdapterDirectory>(has("getAdapter"), "give an object with the method getAdapter").optional(),
  recorder: z.custom<GenerationRecorder>(has("record"), "give an object with the method record").optional(),
  memory: z.custom<CorrectionSource>(has("recall"), "give an object with the method recall").optional(),
  fetch: z.custom<FetchLike>((value) => typeof value === "function", "give a function").optional(),
  logger: z.custom<Logger>(has("warn"), "give an object with the methods debug, info, warn and error"),
  timeouts: z.strictObject({
    connectMs: milliseconds,
    headersMs: milliseconds,
    firstTokenMs: milliseconds,
    idleMs: milliseconds,
    totalMs: milliseconds,
    adminMs: milliseconds,
    healthMs: milliseconds,
  }),
  retries: z.strictObject({
    max: z.number().int().min(0).max(100),
    minDelayMs: milliseconds,
    maxDelayMs: milliseconds,
    maxRetryAfterMs: z.number().min(0),
  }),
  hedging: z.union([z.literal(false), z.strictObject({ afterMs: milliseconds })]),
  health: z.strictObject({ intervalMs: z.number().int().min(0).max(2_147_483_647) }),
  proof: z.strictObject({
    mode: z.enum(["recorded", "required", "off"]),
    minTolerance: z.number().positive(),
    noiseFactor: z.number().min(1),
    maxBaseNoise: z.number().positive(),
  }),
  drainMs: z.number().int().min(0).max(2_147_483_647),
  maxConcurrency: count,
  maxWaiting: z.number().int().min(0),
  maxEventBytes: count,
  maxResponseBytes: count,
  maxTokens: count,
  temperature: z.number().min(0).max(2),
  receiptSecret: z.string().min(16).optional(),
});

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Fills in the defaults and checks; `ConfigurationError` `config_invalid` names the field. */
export function resolveServingOptions(options: ServingClientOptions): ResolvedServingOptions {
  const given = Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as ServingClientOptions;
  const merged = {
    ...DEFAULTS,
    ...given,
    timeouts: { ...DEFAULTS.timeouts, ...given.timeouts },
    retries: { ...DEFAULTS.retries, ...given.retries },
    health: { ...DEFAULTS.health, ...given.health },
    proof: { ...DEFAULTS.proof, ...given.proof },
    logger: given.logger ?? silent,
  };
  const checked = Shape.safeParse(merged);
  if (!checked.success) {
    const issue = checked.error.issues[0];
    const field = issue?.path.join(".") || "options";
    throw new ConfigurationError("config_invalid", `ServingClient: ${field}: ${issue?.message}.`, {
      details: { field },
      cause: checked.error,
    });
  }
  return Object.freeze({
    ...merged,
    endpoints: Object.freeze([...merged.endpoints]),
    timeouts: Object.freeze(merged.timeouts),
    retries: Object.freeze(merged.retries),
    health: Object.freeze(merged.health),
    proof: Object.freeze(merged.proof),
  });
}

function isPlace(value: unknown): boolean {
  return typeof value === "string" || has("resolve")(value);
}

function has(method: string): (value: unknown) => boolean {
  return (value) => typeof value === "object" && value !== null && typeof (value as Record<string, unknown>)[method] === "function";
}
