import type { Kysely } from "kysely";
import { AbortedError, type ClaraError, type ClaraErrorCode, ConfigurationError, StorageError } from "../errors.js";
import type { CallOptions, Embedder, Logger, SearchQuery, SearchResult, SearchType } from "../types/index.js";
import type { ChromaConnection, Neo4jConnection } from "./clients.js";
import { type Fusion, fuse, toResult } from "./fusion.js";
import { graphLeg } from "./graph-leg.js";
import { keywordLeg, readDocuments } from "./keyword-leg.js";
import { type LegHit, type LegLimits, runLeg, type SearchPart } from "./leg.js";
import type { ResolvedMapping } from "./mapping.js";
import { parseQuery, type Uds3Query } from "./search-query.js";
import { vectorLeg } from "./vector-leg.js";

/** A part of a search that gave nothing because it failed. */
export interface MissingPart {
  leg: SearchPart;
  code: ClaraErrorCode;
  message: string;
}

/** An answer that says what it lacks. */
export interface SearchReport {
  results: SearchResult[];
  /** Empty where every leg answered. */
  missing: MissingPart[];
}

/** What a search needs. */
export interface SearchParts {
  db: Kysely<unknown>;
  chroma: () => Promise<ChromaConnection>;
  neo4j: () => Promise<Neo4jConnection>;
  embedder: Embedder | undefined;
  mapping: ResolvedMapping;
  fusion: Fusion;
  legTimeoutMs: number;
  logger: Logger | undefined;
}

/** The three legs at once, and their fusion. */
export class Uds3Search {
  readonly #parts: SearchParts;

  constructor(parts: SearchParts) {
    this.#parts = parts;
  }

  /** Every leg has to answer; the first that fails ends the others. */
  async strict(query: SearchQuery, { signal }: CallOptions): Promise<SearchResult[]> {
    const parsed = this.#parse(query, signal);
    const failed = new AbortController();
    const limits = this.#limits(signal ? AbortSignal.any([signal, failed.signal]) : failed.signal);
    try {
      const found = await Promise.all(parsed.searchTypes.map(async (leg) => [leg, await this.#leg(leg, parsed, limits)] as const));
      return await this.#answer(parsed, Object.fromEntries(found), limits);
    } finally {
      failed.abort();
    }
  }

  /** Whatever legs answer; all failing is an error. */
  async degraded(query: SearchQuery, { signal }: CallOptions): Promise<SearchReport> {
    const parsed = this.#parse(query, signal);
    const limits = this.#limits(signal);
    const lists: Partial<Record<SearchType, LegHit[]>> = {};
    const failures: { leg: SearchPart; error: ClaraError }[] = [];
    await Promise.all(
      parsed.searchTypes.map(async (leg) => {
        try {
          lists[leg] = await this.#leg(leg, parsed, limits);
        } catch (error) {
          failures.push({ leg, error: error as ClaraError });
        }
      }),
    );
    if (signal?.aborted) throw new AbortedError();
    if (failures.length === parsed.searchTypes.length) throw failures[0]?.error;
    const results = await this.#answer(parsed, lists, limits, (error) => failures.push({ leg: "content", error }));
    const missing = failures.map(({ leg, error: { code, message } }) => ({ leg, code, message }));
    if (missing.length > 0) this.#parts.logger?.warn({ missing }, "a search went on without a part of it");
    return { results, missing };
  }

  #parse(query: SearchQuery, signal: AbortSignal | undefined): Uds3Query {
    if (signal?.aborted) throw new AbortedError();
    // Nobody asked for vectors where nobody chose, so without an embedder the other two are searched.
    return parseQuery(query, this.#parts.embedder ? ["vector", "keyword", "graph"] : ["keyword", "graph"]);
  }

  #limits(signal: AbortSignal | undefined): LegLimits {
    return { deadlineMs: this.#parts.legTimeoutMs, signal };
  }

  #leg(leg: SearchType, query: Uds3Query, limits: LegLimits): Promise<LegHit[]> {
    const { db, chroma, neo4j, embedder, mapping } = this.#parts;
    const { deadlineMs, signal } = limits;
    return runLeg(leg, limits, async () => {
      if (leg === "keyword") return keywordLeg({ db, mapping: mapping.postgres, deadlineMs }, query);
      if (leg === "graph") return graphLeg({ neo4j: await neo4j(), mapping: mapping.neo4j, deadlineMs }, query, { signal });
      if (!embedder)
        throw new ConfigurationError("capability_missing", 'no embedder was given; search with searchTypes: ["keyword", "graph"]');
      return vectorLeg({ chroma: await chroma(), embedder, mapping: mapping.chroma }, query, signal);
    });
  }

  /** The best documents; texts that no leg brought come from PostgreSQL. */
  async #answer(
    query: Uds3Query,
    lists: Partial<Record<SearchType, LegHit[]>>,
    limits: LegLimits,
    onFailure?: (error: ClaraError) => void,
  ): Promise<SearchResult[]> {
    const fused = fuse(lists, query.weights, query.fusion ?? this.#parts.fusion).slice(0, query.topK);
    const withoutText = fused.filter(({ hits }) => hits.every(({ content }) => content === null || content === ""));
    if (withoutText.length > 0) {
      const { db, mapping } = this.#parts;
      try {
        const ids = withoutText.map(({ documentId }) => documentId);
        const read = { db, mapping: mapping.postgres, deadlineMs: limits.deadlineMs };
        const documents = await runLeg("content", limits, () => readDocuments(read, ids));
        for (const { documentId, score, hits } of withoutText) {
          const document = documents.get(documentId);
          if (document) hits.push({ ...document, score });
        }
      } catch (error) {
        if (!onFailure || !(error instanceof StorageError || error instanceof ConfigurationError)) throw error;
        onFailure(error);
      }
    }
    return fused.map(toResult);
  }
}
