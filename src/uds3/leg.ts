import { AbortedError, ClaraError, ConfigurationError, StorageError } from "../errors.js";
import type { SearchType } from "../types/index.js";

/** A part of a search that can fail by itself; `content` reads the texts of results whose leg had none. */
export type SearchPart = SearchType | "content";

/** Which of the three databases answers a part. */
export const DATABASE_OF = { vector: "chroma", keyword: "postgres", graph: "neo4j", content: "postgres" } as const satisfies Record<
  SearchPart,
  string
>;

/** Characters of a document's text that a result carries; the nearest chunk is shorter, and comes from the vector leg. */
export const CONTENT_LENGTH = 8192;

/** What is known of a document beside its text; null where the database does not hold it. */
export interface DocumentFields {
  title: string | null;
  documentType: string | null;
  domain: string | null;
  source: string | null;
  /** ISO 8601. */
  date: string | null;
  quality: number | null;
  metadata?: Record<string, unknown> | null;
}

/** A document that one leg found. */
export interface LegHit {
  documentId: string;
  /** 0..1. */
  score: number;
  content: string | null;
  fields: DocumentFields;
}

/** What one part may take, and the caller's signal. */
export interface LegLimits {
  deadlineMs: number;
  signal: AbortSignal | undefined;
}

/**
 * Runs one part of a search until its deadline; whatever goes wrong is an error that names the part and its database.
 * @throws StorageError `store_unavailable`, `request_timeout`; ConfigurationError `config_invalid`, `capability_missing`; AbortedError
 */
export async function runLeg<T>(leg: SearchPart, limits: LegLimits, work: () => Promise<T>): Promise<T> {
  const { deadlineMs, signal } = limits;
  if (signal?.aborted) throw new AbortedError();
  let onAbort: () => void = () => {};
  let timer: NodeJS.Timeout | undefined;
  const ended = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(new AbortedError());
    signal?.addEventListener("abort", onAbort, { once: true });
    timer = setTimeout(() => reject(tooSlow(leg, deadlineMs)), deadlineMs);
  });
  try {
    return await Promise.race([work(), ended]);
  } catch (error) {
    throw legError(leg, error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function tooSlow(leg: SearchPart, deadlineMs: number): StorageError {
  const message = `The ${leg} leg (${DATABASE_OF[leg]}) did not answer within ${deadlineMs} ms. Raise legTimeoutMs, narrow the search, or look at that database.`;
  return new StorageError("request_timeout", message, { isRetryable: true, details: { ...place(leg), deadlineMs } });
}

function legError(leg: SearchPart, error: unknown): ClaraError {
  if (error instanceof AbortedError) return error;
  if (ClaraError.isInstance(error) && error.details.leg === leg) return error;
  return databaseFailure(error, `The ${leg} leg (${DATABASE_OF[leg]}) failed`, place(leg));
}

function place(leg: SearchPart): { leg: SearchPart; database: string } {
  return { leg, database: DATABASE_OF[leg] };
}

/** Tables, columns, indexes or collections that are not there, vectors of another size, and refused logins: no repetition helps. */
const MISSING_SCHEMA =
  /does not exist|no such fulltext|could not be found|expecting embedding with dimension|dimension(ality)? of .*(does not match|mismatch)|Unauthorized|permission/i;
const TIMED_OUT = /statement timeout|transaction.*(timed out|timeout)|TransactionTimedOut/i;
/** PostgreSQL's data and integrity errors, Neo4j's client errors, and Chroma's answer 400. */
const REFUSED = /^(22|23|54)\w{3}$|^Neo\.ClientError\.|^ChromaClientError$|^ChromaValueError$/;

/** Any client's error in CLARA's terms. */
export function databaseFailure(error: unknown, what: string, details: Record<string, unknown>): ClaraError {
  const text = firstLine(error);
  const known = ClaraError.isInstance(error) ? error : null;
  const all = { ...known?.details, ...details };
  if (known && known.code !== "store_unavailable") {
    const Kind = known.code === "config_invalid" || known.code === "capability_missing" ? ConfigurationError : StorageError;
    return new Kind(known.code, `${what}: ${text}.`, { cause: error, isRetryable: known.isRetryable, details: all });
  }
  if (MISSING_SCHEMA.test(text)) {
    const message = `${what}: ${text}. Correct the mapping or the login, or call setup() once to create what is missing.`;
    return new ConfigurationError("config_invalid", message, { cause: error, details: all });
  }
  if (TIMED_OUT.test(text))
    return new StorageError("request_timeout", `${what}: ${text}.`, { cause: error, isRetryable: true, details: all });
  if (!known && isRefusal(error)) {
    const message = `${what}: it was refused: ${text}. Correct the mapping, or what is stored there.`;
    return new ConfigurationError("config_invalid", message, { cause: error, details: all });
  }
  return new StorageError("store_unavailable", `${what}: ${text}.`, {
    cause: error,
    isRetryable: known?.isRetryable ?? true,
    details: all,
  });
}

/** True where the database understood and will say the same the next time. */
function isRefusal(error: unknown): boolean {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return REFUSED.test(String(code)) || REFUSED.test(String(name));
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.split("\n", 1)[0] ?? "").replace(/\.$/, "") || "unknown error";
}
