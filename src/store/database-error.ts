import { ClaraError, StorageError, ValidationError } from "../errors.js";

/** SQLSTATE of a server error, or the errno code of a broken connection. */
export function databaseErrorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** One line that says what the database said, without the statement's parameters. */
export function databaseErrorText(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return databaseErrorText(error.errors[0]);
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n", 1)[0] || databaseErrorCode(error) || "unknown error";
}

const connectionErrnos = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EPIPE",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
]);
const connectionMessages =
  /^(Connection terminated|timeout expired|timeout exceeded|Client has encountered a connection error|Client was closed|The server does not support SSL)/;

/** True where the connection is gone or was never made, so that the next one may work. */
export function isConnectionError(error: unknown): boolean {
  const code = databaseErrorCode(error) ?? (error instanceof AggregateError ? databaseErrorCode(error.errors[0]) : undefined);
  return code === undefined
    ? connectionMessages.test(databaseErrorText(error))
    : connectionErrnos.has(code) || /^(08|57P|25P03|53300)/.test(code);
}

/**
 * Turns what went wrong with the database itself into a `StorageError`; other errors (constraints, bad values) come back unchanged,
 * because only the caller knows what they mean.
 * @param database what to call the database in the message, for example `db.example.org:5432/app`
 */
export function mapDatabaseError(error: unknown, database: string): unknown {
  if (ClaraError.isInstance(error)) return error;
  const code = databaseErrorCode(error) ?? (error instanceof AggregateError ? databaseErrorCode(error.errors[0]) : undefined);
  const text = databaseErrorText(error);
  const options = { cause: error, details: { database, ...(code ? { databaseCode: code } : {}) } };
  if (code === "53100" || code === "ENOSPC" || code === "EDQUOT") {
    return new StorageError("disk_full", `The disk of database ${database} is full: ${text}. Free some space, then repeat the call.`, {
      ...options,
      isRetryable: true,
    });
  }
  if (code === "28P01" || code === "28000") {
    return new StorageError(
      "store_unavailable",
      `Database ${database} refused the login: ${text}. Check the user and the password.`,
      options,
    );
  }
  if (code === "3D000") {
    return new StorageError("store_unavailable", `Database ${database} does not exist. Create it, or correct the name.`, options);
  }
  if (code === "42501" || code === "25006") {
    return new StorageError(
      "store_unavailable",
      `Database ${database} does not allow this: ${text}. Grant it, or use another role.`,
      options,
    );
  }
  if (code === "22021" || code === "22P05") {
    return new ValidationError(
      "input_invalid",
      `A text holds what PostgreSQL cannot store, such as U+0000 (${text}). Take it out, then repeat the call.`,
      options,
    );
  }
  if (code === "40001" || code === "40P01") {
    return new StorageError("store_unavailable", `Database ${database} gave way to a concurrent transaction: ${text}. Repeat the call.`, {
      ...options,
      isRetryable: true,
    });
  }
  if (code !== undefined && code !== "53300" && /^(53|58)\w{3}$/.test(code)) {
    return new StorageError(
      "store_unavailable",
      `Database ${database} lacks something it needs: ${text}. See its log, then repeat the call.`,
      {
        ...options,
        isRetryable: true,
      },
    );
  }
  if (!isConnectionError(error)) return error;
  return new StorageError(
    "store_unavailable",
    `Database ${database} cannot be reached: ${text}. Check that it runs and accepts connections.`,
    {
      ...options,
      isRetryable: true,
    },
  );
}
