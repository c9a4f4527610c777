import {
  ClaraError,
  type ClaraErrorCode,
  ConfigurationError,
  EngineError,
  NotFoundError,
  OverloadedError,
  RuntimeUnavailableError,
  ValidationError,
} from "../../errors.js";
import { AttemptError } from "./attempt-error.js";
import { type EngineComplaint, isMissingRoute } from "./engine-complaint.js";
import { parseRetryAfter } from "./retry-after.js";
import type { HttpResponse } from "./transport.js";

const NOBODY_THERE = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "UND_ERR_CONNECT_TIMEOUT",
  "ENOENT",
]);
const NO_TLS = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG", "EPROTO"]);
const UNTRUSTED = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);
const TRANSIENT_STATUS = new Set([502, 503, 504]);
const RUNTIME_CODES = new Set<ClaraErrorCode>(["adapter_invalid", "path_outside_root", "base_model_invalid", "out_of_memory", "disk_full"]);
const INPUT_CODES = new Set<ClaraErrorCode>(["adapter_invalid", "path_outside_root"]);

/** The error that an HTTP status other than success stands for; `asked` is the method and the path of the request. */
export function statusError(
  endpoint: string,
  response: Pick<HttpResponse, "status" | "retryAfter">,
  complaint: EngineComplaint,
  asked?: string,
): AttemptError {
  const { status } = response;
  const details = { endpoint, status };
  const said = `the engine at ${endpoint} answered ${status}: ${complaint.message}`;
  const retryAfterMs = parseRetryAfter(response.retryAfter) ?? undefined;
  if (status === 429) {
    const error = new OverloadedError("rate_limited", `Too many requests: ${said}`, retryAfterMs ?? 1_000, { details });
    return new AttemptError(error, { failover: true, retry: true, retryAfterMs }, complaint);
  }
  const code = (RUNTIME_CODES as Set<string>).has(complaint.runtimeCode ?? "") ? (complaint.runtimeCode as ClaraErrorCode) : null;
  if (code !== null && INPUT_CODES.has(code)) {
    const error = new ValidationError(code, `${complaint.message} (${endpoint})`, { details });
    return new AttemptError(error, { failover: false, retry: false }, complaint);
  }
  const isTransient = TRANSIENT_STATUS.has(status);
  const kind = code ?? (isTransient ? "engine_unavailable" : "engine_error");
  const hint =
    status === 404 && asked !== undefined && isMissingRoute(complaint)
      ? `It has no ${asked} (options endpoints, engine): `
      : explain(status);
  const error = new EngineError(kind, `${hint}${said}`, { isRetryable: status >= 500, details });
  return new AttemptError(error, { failover: isTransient, retry: isTransient, retryAfterMs }, complaint);
}

function explain(status: number): string {
  if (status === 401 || status === 403) return "The token was not accepted (option token): ";
  if (status >= 300 && status < 400) return "Redirects are not followed; give the engine's own URL: ";
  return "";
}

/** The error that a failed connection stands for. */
export function connectionError(
  endpoint: string,
  startHint: string,
  code: "engine_unavailable" | "runtime_unavailable",
  cause: unknown,
): AttemptError {
  const codes = codesOf(cause);
  const details = { endpoint, cause: codes[0] };
  if (codes.some((one) => NOBODY_THERE.has(one))) {
    const error = new RuntimeUnavailableError(code, `No engine answers at ${endpoint}: ${startHint}`, { cause, details });
    return new AttemptError(error, { failover: true, retry: true });
  }
  const misuse = tlsMistake(endpoint, codes);
  if (misuse !== null)
    return new AttemptError(new ConfigurationError("config_invalid", misuse, { cause, details }), { failover: true, retry: false });
  if (isParserError(cause) || codes.some((one) => one.startsWith("HPE_") || one === "UND_ERR_HEADERS_OVERFLOW")) {
    return invalidResponse(endpoint, "it does not speak HTTP", cause);
  }
  const message = `The connection to the engine at ${endpoint} was lost (${codes[0] ?? messageOf(cause)}).`;
  return new AttemptError(new EngineError("engine_unavailable", message, { isRetryable: true, cause, details }), {
    failover: true,
    retry: true,
  });
}

/** What to change where TLS itself fails: the same call would fail again. */
function tlsMistake(endpoint: string, codes: readonly string[]): string | null {
  const code = codes.find((one) => NO_TLS.has(one) || UNTRUSTED.has(one));
  if (code === undefined) return null;
  if (NO_TLS.has(code)) return `What listens at ${endpoint} does not speak TLS (${code}): give its URL with http:// (option endpoints).`;
  return `The certificate of ${endpoint} is not trusted (${code}): correct it, or name its authority's file in NODE_EXTRA_CA_CERTS.`;
}

/** The engine, or what answers in its place, sent something that it must not; another endpoint may be well. */
export function invalidResponse(endpoint: string, what: string, cause?: unknown): AttemptError {
  const error = new EngineError("engine_response_invalid", `The answer of the engine at ${endpoint} is invalid: ${what}.`, {
    cause,
    details: { endpoint },
  });
  return new AttemptError(error, { failover: true, retry: false });
}

/** The engine's kind, or its version, cannot do what is asked of it. */
export function capabilityMissing(endpoint: string, what: string, cause?: unknown): AttemptError {
  const error = new ConfigurationError("capability_missing", `The engine at ${endpoint}: ${what}.`, { details: { endpoint }, cause });
  return new AttemptError(error, { failover: false, retry: false });
}

/** The engine serves other models than the one that is asked for. */
export function modelNotServed(endpoint: string, id: string, served: readonly string[]): NotFoundError {
  const message = `The engine at ${endpoint} does not serve the model ${id}. It serves: ${served.join(", ") || "none"}. Set the option baseModel to one of them.`;
  return new NotFoundError("model_not_found", message, { details: { id, endpoint, served } });
}

/** HTTP status that an attempt failed with; undefined where it failed otherwise. */
export function failedStatus(error: unknown): unknown {
  return error instanceof AttemptError ? error.error.details.status : undefined;
}

/** Any failure as a `ClaraError`, for the caller; what a router or a directory of adapters throws otherwise becomes `internal`. */
export function asClaraError(error: unknown): ClaraError {
  const inner = error instanceof AttemptError ? error.error : error;
  if (ClaraError.isInstance(inner)) return inner;
  return new ClaraError("internal", `The generation failed: ${messageOf(inner)}`, { cause: inner });
}

function codesOf(error: unknown): string[] {
  const codes: string[] = [];
  for (let link = error; typeof link === "object" && link !== null && codes.length < 8; link = (link as { cause?: unknown }).cause) {
    const { code, errors } = link as { code?: unknown; errors?: unknown };
    if (typeof code === "string") codes.push(code);
    if (Array.isArray(errors)) codes.push(...errors.map((one: { code?: unknown }) => one.code).filter((one) => typeof one === "string"));
  }
  return codes;
}

/** undici's parser leaves the code out for some of its findings. */
function isParserError(error: unknown): boolean {
  return error instanceof Error && (error.name === "HTTPParserError" || isParserError(error.cause));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
