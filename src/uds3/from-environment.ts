import { ConfigurationError } from "../errors.js";
import type { Uds3Connections } from "./clients.js";

/**
 * The three connections as UDS3 names them in the environment: `UDS3_POSTGRES_HOST`, `UDS3_CHROMA_HOST` and `UDS3_NEO4J_HOST` must be there; `…_PORT` (5432, 8000, 7687),
 * `UDS3_POSTGRES_DATABASE` (`postgres`), `UDS3_POSTGRES_USER`, `UDS3_POSTGRES_PASSWORD`, `UDS3_NEO4J_USER` (`neo4j`) and `UDS3_NEO4J_PASSWORD` may be.
 * @throws ConfigurationError `config_invalid`; `details.variable`
 * @example
 * ```ts
 * import { uds3FromEnvironment } from "clara-sdk/uds3";
 * const clara = await createClara({ uds3: uds3FromEnvironment() });
 * ```
 */
export function uds3FromEnvironment(environment: Readonly<Record<string, string | undefined>> = process.env): Uds3Connections {
  const read = (name: string) => environment[`UDS3_${name}`] || undefined;
  const address = (database: string, port: string) => `${hostOf(database, read)}:${portOf(database, port, read)}`;
  const [user, password] = [read("POSTGRES_USER"), read("POSTGRES_PASSWORD")];
  const login = user === undefined ? "" : `${encodeURIComponent(user)}${password === undefined ? "" : `:${encodeURIComponent(password)}`}@`;
  const neo4jPassword = read("NEO4J_PASSWORD");
  return {
    postgres: `postgres://${login}${address("POSTGRES", "5432")}/${encodeURIComponent(read("POSTGRES_DATABASE") ?? "postgres")}`,
    chroma: `http://${address("CHROMA", "8000")}`,
    neo4j: {
      url: `neo4j://${address("NEO4J", "7687")}`,
      ...(neo4jPassword === undefined ? {} : { auth: { user: read("NEO4J_USER") ?? "neo4j", password: neo4jPassword } }),
    },
  };
}

type Read = (name: string) => string | undefined;

function hostOf(database: string, read: Read): string {
  const variable = `UDS3_${database}_HOST`;
  const host = read(`${database}_HOST`);
  if (host === undefined) throw invalid(variable, "is missing: give the name or the address of the database's machine");
  if (!isHost(host)) throw invalid(variable, "is no host: give a name or an address, without port and path");
  return hostInUrl(host);
}

/** Whether it is the name or the address of a machine, and nothing more. */
export function isHost(host: string): boolean {
  const written = hostInUrl(host);
  return /^[^\s/@?#]+$/.test(written) && URL.canParse(`http://${written}:1`);
}

/** The host as it stands in a URL: IPv6 addresses in brackets. */
export function hostInUrl(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

function portOf(database: string, standard: string, read: Read): string {
  const port = read(`${database}_PORT`) ?? standard;
  if (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535) return port;
  throw invalid(`UDS3_${database}_PORT`, "is no port: give a number of 1..65535");
}

/** Never the value: a password that was put into the wrong variable would be told. */
function invalid(variable: string, what: string): ConfigurationError {
  return new ConfigurationError("config_invalid", `The environment variable ${variable} ${what}.`, { details: { variable } });
}
