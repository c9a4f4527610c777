import { type ClaraError, ConfigurationError, NotFoundError, RuntimeUnavailableError, ValidationError } from "../errors.js";
import { RuntimeErrorCode } from "../types/runtime-protocol.js";
import { trainingError } from "./runtime-faults.js";

/** Nothing answered, or it broke off. */
export function connectionError(error: unknown, name: string, url: string): RuntimeUnavailableError {
  const cause = error as { code?: string; message?: string };
  const what = cause.code === "ECONNREFUSED" ? "nothing listens there" : (cause.message ?? String(error));
  return new RuntimeUnavailableError(
    "runtime_unavailable",
    `The ${name} at ${url} cannot be reached: ${what}. Start it (on its machine: npx clara runtime up), or correct its URL.`,
    { cause: error, details: { url, reason: cause.code ?? null } },
  );
}

/** An answer other than success. */
export function answerError(answer: { status: number; text: string; method: string; path: string; url: string; name: string }): ClaraError {
  const { status, url, name } = answer;
  const body = parse(answer.text);
  const message = body.message ?? `HTTP ${status}`;
  const details = { url, status, request: `${answer.method} ${answer.path}` };
  if (status === 401 || status === 403) {
    return new ConfigurationError(
      "config_invalid",
      `The ${name} at ${url} refused the token (${message}). Give the token that it was started with (CLARA_RUNTIME_TOKEN).`,
      {
        details,
      },
    );
  }
  const jobId = /^\/v1\/jobs\/([^/?]+)/.exec(answer.path)?.[1];
  if (status === 404 && jobId !== undefined) {
    return new NotFoundError("job_not_found", `The ${name} at ${url} knows no job ${decodeURIComponent(jobId)}.`, {
      details: { ...details, id: jobId },
    });
  }
  const code = RuntimeErrorCode.safeParse(body.clara_code);
  // what is wrong with the request itself, as opposed to with the machine
  if (code.success && (status < 500 || code.data !== "internal")) {
    return trainingError(
      { job_id: jobId ?? "", kind: "train" },
      { code: code.data, message, retryable: body.retryable ?? status >= 500 },
      details,
    );
  }
  if (status === 429 || status >= 500) {
    return new RuntimeUnavailableError("runtime_unavailable", `The ${name} at ${url} cannot answer now: ${message}.`, { details });
  }
  return new ValidationError("input_invalid", `The ${name} at ${url} refused ${answer.method} ${answer.path}: ${message}.`, { details });
}

function parse(text: string): { message?: string; clara_code?: unknown; retryable?: boolean } {
  try {
    return (JSON.parse(text) as { error?: { message?: string; clara_code?: string; retryable?: boolean } }).error ?? {};
  } catch {
    return text === "" ? {} : { message: text.slice(0, 300) };
  }
}
