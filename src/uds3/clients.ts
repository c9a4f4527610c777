import type pg from "pg";
import { ConfigurationError } from "../errors.js";
import { createPool } from "../store/postgres.js";

/** What is used of a collection of the `chromadb` package. */
export interface ChromaCollection {
  readonly configuration: { hnsw?: { space?: string | null } | null; spann?: { space?: string | null } | null };
  query(request: ChromaQuery): Promise<ChromaAnswer>;
  upsert(request: {
    ids: string[];
    embeddings: number[][];
    documents: string[];
    metadatas: Record<string, string | number | boolean>[];
  }): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: the package's own filter types are not exported by every version
  delete(request: { where: any }): Promise<unknown>;
}

/** A nearest-neighbour query with one vector. */
export interface ChromaQuery {
  queryEmbeddings: number[][];
  nResults: number;
  // biome-ignore lint/suspicious/noExplicitAny: see above
  where?: any;
  // biome-ignore lint/suspicious/noExplicitAny: see above
  include: any[];
}

/** One list an asked vector. */
export interface ChromaAnswer {
  ids: string[][];
  distances: (number | null)[][];
  documents: (string | null)[][];
  metadatas: (Record<string, unknown> | null)[][];
}

/** What is used of `ChromaClient` of the package `chromadb` (3.5 or newer). */
export interface ChromaConnection {
  // biome-ignore lint/suspicious/noExplicitAny: see above
  getCollection(request: { name: string; embeddingFunction?: any }): Promise<ChromaCollection>;
  // biome-ignore lint/suspicious/noExplicitAny: see above
  getOrCreateCollection(request: { name: string; embeddingFunction: null; configuration?: any }): Promise<ChromaCollection>;
}

/** What is used of a session of `neo4j-driver`. */
export interface Neo4jSession {
  run(
    statement: string,
    parameters?: Record<string, unknown>,
    options?: { timeout?: number },
  ): PromiseLike<{ records: { toObject(): Record<string, unknown> }[] }>;
  executeWrite<T>(
    work: (transaction: { run(statement: string, parameters?: Record<string, unknown>): PromiseLike<unknown> }) => Promise<T>,
  ): Promise<T>;
  close(): Promise<void>;
}

/** What is used of `Driver` of the package `neo4j-driver` (6.3 or newer). */
export interface Neo4jConnection {
  session(options?: { database?: string; defaultAccessMode?: "READ" | "WRITE" }): Neo4jSession;
  close(): Promise<void>;
}

/** The three databases: clients that are open already and stay so, or addresses. */
export interface Uds3Connections {
  postgres: pg.Pool | string;
  /** A client, or the server's URL, for example `http://127.0.0.1:8000`. */
  chroma: ChromaConnection | string;
  neo4j: Neo4jConnection | { url: string; auth?: { user: string; password: string } };
}

/** A client and, where it was opened here, how to close it. */
export interface Opened<T> {
  client: T;
  close(): Promise<void>;
}

const stayOpen = async (): Promise<void> => {};

export function openPostgres(postgres: Uds3Connections["postgres"]): Opened<pg.Pool> {
  if (typeof postgres !== "string") return { client: postgres, close: stayOpen };
  const pool = createPool(postgres);
  return { client: pool, close: () => pool.end() };
}

export async function openChroma(chroma: Uds3Connections["chroma"]): Promise<Opened<ChromaConnection>> {
  if (typeof chroma !== "string") return { client: chroma, close: stayOpen };
  const url = URL.canParse(chroma) ? new URL(chroma) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.username !== "") {
    throw new ConfigurationError(
      "config_invalid",
      "uds3.chroma is no plain http URL: write http://host:8000, or pass a ChromaClient (for headers, a tenant or a path).",
      { details: { field: "uds3.chroma" } },
    );
  }
  const { ChromaClient } = await loadPeer("chromadb", () => import("chromadb"));
  const ssl = url.protocol === "https:";
  const client = new ChromaClient({ host: url.hostname, port: Number(url.port) || (ssl ? 443 : 80), ssl });
  return { client, close: stayOpen };
}

export async function openNeo4j(neo4j: Uds3Connections["neo4j"]): Promise<Opened<Neo4jConnection>> {
  if ("session" in neo4j) return { client: neo4j, close: stayOpen };
  const { default: driverPackage } = await loadPeer("neo4j-driver", () => import("neo4j-driver"));
  const auth = neo4j.auth && driverPackage.auth.basic(neo4j.auth.user, neo4j.auth.password);
  let driver: Neo4jConnection;
  try {
    driver = driverPackage.driver(neo4j.url, auth, {
      connectionTimeout: 10_000,
      connectionAcquisitionTimeout: 10_000,
      // What was not written is kept in the outbox: a caller need not wait half a minute to hear of it.
      maxTransactionRetryTime: 5_000,
    });
  } catch (error) {
    throw new ConfigurationError("config_invalid", "uds3.neo4j.url is no Bolt URL: write bolt://host:7687 or neo4j://host:7687.", {
      cause: error,
      details: { field: "uds3.neo4j.url" },
    });
  }
  return { client: driver, close: () => driver.close() };
}

/** Loads an optional peer only when an address, not a client, was given. */
async function loadPeer<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new ConfigurationError("config_invalid", `The package ${name} is needed to open this connection: npm install ${name}.`, {
      cause: error,
      details: { package: name },
    });
  }
}
