import pg from "pg";
import { ConfigurationError } from "../errors.js";

/** Oldest server version that the statements are written for. */
export const MIN_SERVER_VERSION = 14;

/**
 * A pool for a connection string.
 * @throws ConfigurationError `config_invalid` where it is no `postgres://` URL
 */
export function createPool(connectionString: string): pg.Pool {
  const isUrl = /^postgres(ql)?:\/\//.test(connectionString) && (URL.canParse(connectionString) || connectionString.includes("%2F"));
  if (!isUrl) {
    throw new ConfigurationError(
      "config_invalid",
      "`database` is not a PostgreSQL URL: write postgres://user:password@host:5432/name, pass a pg.Pool, or { dataDir } for the embedded database.",
    );
  }
  const pool = new pg.Pool({ connectionString, max: 10, connectionTimeoutMillis: 10_000, keepAlive: true, application_name: "clara-sdk" });
  // The pool lets go of a connection before it has ended: a last complaint must not end the process.
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

/** What a pool connects to, for messages: host, port and database, never the password. */
export function describePool(pool: pg.Pool): string {
  const { connectionString, host, port, database } = pool.options;
  if (connectionString) {
    try {
      const url = new URL(connectionString);
      return `${url.hostname || url.searchParams.get("host") || "localhost"}:${url.port || 5432}${url.pathname}`;
    } catch {
      // Not a URL that the platform can read; pg has its own rules.
      return "(from its connection string)";
    }
  }
  return `${host ?? process.env.PGHOST ?? "localhost"}:${port ?? process.env.PGPORT ?? 5432}/${database ?? process.env.PGDATABASE ?? ""}`;
}
