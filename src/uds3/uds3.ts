import { Kysely, PostgresDialect } from "kysely";
import type { CorpusOptions } from "../datasets/index.js";
import { ConfigurationError, StorageError } from "../errors.js";
import { KyselyPool } from "../store/kysely-pool.js";
import { describePool } from "../store/postgres.js";
import type { Store } from "../store/store.js";
import type { AddDocumentsResult, CallOptions, DocumentInput, Embedder, Logger, SearchQuery, SearchResult } from "../types/index.js";
import {
  type ChromaConnection,
  type Neo4jConnection,
  type Opened,
  openChroma,
  openNeo4j,
  openPostgres,
  type Uds3Connections,
} from "./clients.js";
import type { Fusion } from "./fusion.js";
import { type ResolvedMapping, resolveMapping, type Uds3Mapping } from "./mapping.js";
import { type SearchReport, Uds3Search } from "./search.js";
import { setUp } from "./setup.js";
import { type EntityExtractor, entitiesFromMetadata } from "./writes/document-record.js";
import { Ingestion } from "./writes/ingestion.js";
import { Outbox } from "./writes/outbox.js";
import { writersOf } from "./writes/writers.js";

/** How documents are found and written; every field is optional. */
export interface Uds3Settings {
  /** Names of tables, columns, labels and so on where they are not UDS3's own. */
  mapping?: Uds3Mapping;
  /** `weighted`: mean of the legs' scores by the query's weights (default); `rrf`: by ranks. */
  fusion?: Fusion;
  /** Milliseconds that each leg may take. Default 2,000. */
  legTimeoutMs?: number;
  /** `fail` (default): a leg that fails fails the search. `degrade`: the others answer, each result names what is missing in `metadata.missingLegs`. */
  onLegFailure?: "fail" | "degrade";
  /** Names what a document mentions, for the graph. Default: the strings in `metadata.entities`. */
  entities?: EntityExtractor;
}

/** Options of `Uds3`. */
export interface Uds3Options extends Uds3Connections, Uds3Settings {
  /** Makes vectors of questions and texts; the one that made those in Chroma. Without it there is no vector leg, and nothing is written. */
  embedder?: Embedder;
  /** Where what is being written is noted; needed for `addDocuments`, `removeDocuments` and `recover`. */
  store?: Store;
  logger?: Logger;
}

/**
 * Your own PostgreSQL, Chroma and Neo4j: one search over all three, and documents written to all three. Clients that you pass in stay open.
 * @example
 * ```ts
 * import { Uds3 } from "clara-sdk/uds3";
 * await using uds3 = new Uds3({
 *   postgres: "postgres://app:secret@127.0.0.1:5432/app", chroma: "http://127.0.0.1:8000", neo4j: { url: "bolt://127.0.0.1:7687" }, embedder, store,
 * });
 * await uds3.setup();
 * await uds3.addDocuments([{ id: "law-17", content: text, metadata: { entities: ["Baugenehmigung"] } }]);
 * const results = await uds3.search({ queryText: "Wer erteilt die Baugenehmigung?", topK: 5 });
 * ```
 */
export class Uds3 implements AsyncDisposable {
  readonly #options: Uds3Options;
  readonly #mapping: ResolvedMapping;
  readonly #postgres: Opened<import("pg").Pool>;
  readonly #db: Kysely<unknown>;
  readonly #search: Uds3Search;
  readonly #onPoolError: (error: Error) => void;
  #chroma: Promise<Opened<ChromaConnection>> | null = null;
  #neo4j: Promise<Opened<Neo4jConnection>> | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: Uds3Options) {
    const { legTimeoutMs = 2000, fusion = "weighted", onLegFailure = "fail", logger, embedder } = options;
    requirePlain(Number.isFinite(legTimeoutMs) && legTimeoutMs >= 1, "legTimeoutMs", "a number of milliseconds, 1 or more");
    requirePlain(fusion === "weighted" || fusion === "rrf", "fusion", '"weighted" or "rrf"');
    requirePlain(onLegFailure === "fail" || onLegFailure === "degrade", "onLegFailure", '"fail" or "degrade"');
    for (const name of ["postgres", "chroma", "neo4j"] as const) requirePlain(options[name] != null, name, "a client or an address");
    this.#options = { ...options, onLegFailure };
    this.#mapping = resolveMapping(options.mapping);
    this.#postgres = openPostgres(options.postgres);
    const pool = this.#postgres.client;
    this.#onPoolError = (error) => logger?.warn({ error: error.message }, "an idle database connection broke; the pool replaces it");
    pool.on("error", this.#onPoolError);
    this.#db = new Kysely({ dialect: new PostgresDialect({ pool: new KyselyPool(pool, describePool(pool)) }) });
    this.#search = new Uds3Search({
      db: this.#db,
      chroma: () => this.#openChroma(),
      neo4j: () => this.#openNeo4j(),
      embedder,
      mapping: this.#mapping,
      fusion,
      legTimeoutMs: Math.round(legTimeoutMs),
      logger,
    });
  }

  /**
   * Makes what the mapping names and is not there: the table, its columns and full-text indexes, the collection (cosine), the graph's indexes. What is there stays.
   * @throws StorageError `store_unavailable`, ConfigurationError `config_invalid`; `details.database`
   * @example
   * ```ts
   * await new Uds3(connections).setup();
   * ```
   */
  async setup(): Promise<void> {
    this.#requireOpen();
    await setUp({ db: this.#db, chroma: await this.#openChroma(), neo4j: await this.#openNeo4j() }, this.#mapping);
  }

  /**
   * Documents for a question, best first, from all legs that were asked for (default: all three). A result's `content` is the nearest chunk, or the beginning of the document.
   * A failing or slow leg is an error with `details.leg`; with `onLegFailure: "degrade"` the others answer and `metadata.missingLegs` names it, unless nothing was found without it.
   * @throws ValidationError `input_invalid`; StorageError `store_unavailable`, `request_timeout`; ConfigurationError `config_invalid`, `capability_missing`; AbortedError
   * @example
   * ```ts
   * const uds3 = new Uds3(connections);
   * const results = await uds3.search({ queryText: "Abstandsflächen", filters: { domain: "recht", minQuality: 0.5 } }, { signal });
   * ```
   */
  async search(query: SearchQuery, options: CallOptions = {}): Promise<SearchResult[]> {
    this.#requireOpen();
    if (this.#options.onLegFailure !== "degrade") return this.#search.strict(query, options);
    const { results, missing } = await this.#search.degraded(query, options);
    const [first] = missing;
    if (first === undefined) return results;
    if (results.length === 0)
      throw new StorageError(first.code, first.message, { isRetryable: true, details: { leg: first.leg, missing } });
    const missingLegs = missing.map(({ leg }) => leg);
    return results.map((result) => ({ ...result, metadata: { ...result.metadata, missingLegs } }));
  }

  /**
   * The same search, whatever legs answer: legs that fail are named in `missing`. Throws only where all of them fail.
   * @example
   * ```ts
   * const { results, missing } = await new Uds3(connections).searchWithReport({ queryText: "Abstandsflächen" });
   * for (const { leg, code } of missing) console.warn(`${leg}: ${code}`);
   * ```
   */
  async searchWithReport(query: SearchQuery, options: CallOptions = {}): Promise<SearchReport> {
    this.#requireOpen();
    return this.#search.degraded(query, options);
  }

  /**
   * Adds documents to all three databases, batch by batch; one with a known id and another text or other metadata replaces it, one that is the same is skipped. A crash or a database that cannot be reached leaves nothing
   * half done for good: `recover` goes on.
   * @throws StorageError `store_unavailable` with `details.database` and `details.documentIds`; AbortedError
   * @example
   * ```ts
   * const { added, rejected } = await new Uds3(connections).addDocuments([{ id: "law-17", content: text, domain: "recht" }], { signal });
   * ```
   */
  async addDocuments(
    documents: AsyncIterable<DocumentInput> | Iterable<DocumentInput>,
    options: CorpusOptions = {},
  ): Promise<AddDocumentsResult> {
    const { ingestion } = this.#writing();
    const result = await ingestion.addDocuments(documents, options);
    this.#options.logger?.info({ added: result.added, skipped: result.skipped, rejected: result.rejected.length }, "documents added");
    return result;
  }

  /**
   * Takes documents out of all three databases; gives the number of ids.
   * @example
   * ```ts
   * await new Uds3(connections).removeDocuments(["law-17"]);
   * ```
   */
  async removeDocuments(ids: readonly string[], options: CallOptions = {}): Promise<number> {
    return this.#writing().ingestion.removeDocuments(ids, options);
  }

  /**
   * Finishes what a crash or an unreachable database left half written; gives the number of documents.
   * @example
   * ```ts
   * const { finished } = await new Uds3(connections).recover();
   * ```
   */
  async recover(options: CallOptions = {}): Promise<{ finished: number }> {
    return { finished: await this.#writing().ingestion.recover(options) };
  }

  /**
   * How many documents are noted and not yet in all three databases.
   * @example
   * ```ts
   * if ((await new Uds3(connections).unfinishedDocuments()) > 0) console.log("call recover()");
   * ```
   */
  async unfinishedDocuments(): Promise<number> {
    return this.#writing().outbox.countUnfinished();
  }

  /**
   * Closes what was opened from addresses.
   * @example
   * ```ts
   * await new Uds3(connections).close();
   * ```
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // A connection that never opened has nothing to close; its error was its caller's.
    const opened = await Promise.allSettled([this.#chroma, this.#neo4j]);
    try {
      for (const one of opened) if (one.status === "fulfilled") await one.value?.close();
      await this.#postgres.close();
    } finally {
      this.#postgres.client.off("error", this.#onPoolError);
    }
  }

  #writing(): { outbox: Outbox; ingestion: Ingestion } {
    this.#requireOpen();
    const { store, embedder } = this.#options;
    if (!store || !embedder) {
      const lacks = store ? "an embedder" : "a store";
      throw new ConfigurationError(
        "config_invalid",
        `Writing documents needs ${lacks}: new Uds3({ …, ${store ? "embedder" : "store: await openStore()"} }).`,
      );
    }
    const outbox = new Outbox(store, this.#mapping);
    const clients = { db: this.#db, chroma: () => this.#openChroma(), neo4j: () => this.#openNeo4j(), embedder };
    const extract = this.#options.entities ?? entitiesFromMetadata;
    return { outbox, ingestion: new Ingestion({ outbox, writers: writersOf(clients, this.#mapping), extract }) };
  }

  async #openChroma(): Promise<ChromaConnection> {
    this.#chroma ??= openChroma(this.#options.chroma);
    return (await this.#chroma).client;
  }

  async #openNeo4j(): Promise<Neo4jConnection> {
    this.#neo4j ??= openNeo4j(this.#options.neo4j);
    return (await this.#neo4j).client;
  }

  #requireOpen(): void {
    if (this.#closing !== null)
      throw new StorageError("store_closed", "These databases were closed here. Make a new Uds3, or close it after the last call.");
  }
}

function requirePlain(isGood: boolean, field: string, wanted: string): void {
  if (!isGood) throw new ConfigurationError("config_invalid", `uds3.${field} must be ${wanted}.`, { details: { field: `uds3.${field}` } });
}
