import { sql } from "kysely";
import { AbortedError, ConflictError, StorageError, ValidationError } from "../errors.js";
import type { Store } from "../store/store.js";
import { type CallOptions, type Embedder, SearchQuery, type SearchResult, type SearchType } from "../types/index.js";
import { findEncodingFault } from "./checks/encoding.js";
import { embedUnit, vectorIndexName } from "./embeddings.js";
import { filterCondition } from "./search-filters.js";
import { type FoundChunk, searchStatement, type VectorLeg } from "./search-statement.js";

/** Without pgvector every vector is compared; above this many the answer would take seconds. */
const EXACT_LIMIT = 5_000;
/** pgvector scans no more index entries than this in one go. */
const MOST_CANDIDATES = 1000;

type ParsedQuery = ReturnType<typeof SearchQuery.parse>;

/** Search over the corpus by vectors and by keywords, fused by weights. */
export class HybridSearch {
  readonly #store: Store;
  readonly #embedder: Embedder | undefined;
  readonly #exactLimit: number;

  constructor(parts: { store: Store; embedder?: Embedder; exactLimit?: number }) {
    this.#store = parts.store;
    this.#embedder = parts.embedder;
    this.#exactLimit = parts.exactLimit ?? EXACT_LIMIT;
  }

  /** Best first. @throws ValidationError; StorageError `capability_missing` for a search type that this store cannot do, never a silently shorter search */
  async search(query: SearchQuery, { signal }: CallOptions = {}): Promise<SearchResult[]> {
    if (signal?.aborted) throw new AbortedError();
    const { queryText, topK, weights, filters, searchTypes } = this.#parse(query);
    const perLeg = Math.min(MOST_CANDIDATES, Math.max(50, 2 * topK));
    const vector = searchTypes.has("vector") ? await this.#vectorLeg(queryText, filters, signal) : null;
    if (signal?.aborted) throw new AbortedError();
    const statement = searchStatement({
      queryText,
      condition: filterCondition(filters),
      perLeg,
      topK,
      keyword: searchTypes.has("keyword") ? { weight: weights.keyword } : null,
      vector: vector && { ...vector.leg, weight: weights.vector },
    });
    const { db } = this.#store;
    if (!vector?.isIndexed) return (await statement.execute(db)).rows.map(toResult);
    return db.transaction().execute(async (transaction) => {
      // Filters apply after the index scan; the iterative scan goes on until enough rows have passed them.
      await sql`select set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.ef_search', ${String(perLeg)}, true)`.execute(
        transaction,
      );
      return (await statement.execute(transaction)).rows.map(toResult);
    });
  }

  #parse(query: SearchQuery): Omit<ParsedQuery, "searchTypes"> & { searchTypes: Set<SearchType> } {
    // Nobody asked for vectors where nobody chose, so a store without an embedder searches by keywords then.
    const byDefault: SearchType[] = this.#embedder ? ["vector", "keyword"] : ["keyword"];
    const parsed = SearchQuery.safeParse({ ...query, searchTypes: query?.searchTypes ?? byDefault });
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      const field = issue?.path.join(".") ?? "";
      throw new ValidationError("input_invalid", `The search query is invalid at ${field || "its root"}: ${issue?.message}.`, {
        details: { field },
      });
    }
    const fault = [parsed.data.queryText, parsed.data.filters.documentType ?? ""].map(findEncodingFault).find((found) => found !== null);
    if (fault)
      throw new ValidationError("input_invalid", `The search query is not valid text: ${fault}.`, { details: { field: "queryText" } });
    const searchTypes = new Set(parsed.data.searchTypes);
    if (searchTypes.has("graph")) {
      throw missing("graph", 'Graph search needs a graph database, which this store does not have. Leave "graph" out of searchTypes.');
    }
    const total = [...searchTypes].reduce((sum, type) => sum + parsed.data.weights[type], 0);
    if (total <= 0) {
      throw new ValidationError("input_invalid", `The weights of ${[...searchTypes].join(" and ")} are all 0. Give one of them a weight.`, {
        details: { field: "weights" },
      });
    }
    return { ...parsed.data, searchTypes };
  }

  async #vectorLeg(
    queryText: string,
    filters: ParsedQuery["filters"],
    signal?: AbortSignal,
  ): Promise<{ leg: VectorLeg; isIndexed: boolean } | null> {
    const embedder = this.#embedder;
    if (!embedder) {
      throw missing(
        "vector",
        'Vector search needs an embedder, and the DatasetManager was given none. Give it one, or search with searchTypes: ["keyword"].',
      );
    }
    const [vector] = await embedUnit(embedder, [queryText], { signal });
    const dimensions = vector?.length ?? embedder.dimensions;
    const state = await this.#embeddingState(embedder.name, dimensions);
    if (state.foreign) {
      throw new ConflictError(
        "capability_missing",
        `The corpus has texts without vectors of the embedder ${embedder.name} (${dimensions} dimensions). Call datasets.reembed() once, or search with searchTypes: ["keyword"].`,
        { details: { capability: "vector", embedder: embedder.name, dimensions, stored: state.stored } },
      );
    }
    // A query without direction, or an empty corpus, has no neighbours.
    if (!vector || state.embedderId === null) return null;
    const hasPgvector = this.#store.capabilities.vector;
    if (!hasPgvector) await this.#requireFewVectors(state.embedderId, filters);
    return { leg: { embedderId: state.embedderId, vector, hasPgvector }, isIndexed: state.isIndexed };
  }

  async #embeddingState(
    name: string,
    dimensions: number,
  ): Promise<{ embedderId: number | null; foreign: boolean; stored: string | null; isIndexed: boolean }> {
    const result = await sql<{ id: number | null; is_foreign: boolean; stored: string | null }>`
      with own as (select id from clara.corpus_embedder where name = ${name} and dimensions = ${dimensions}),
      foreign_chunk as (
        select embedder_id from clara.corpus_chunk
        where embedder_id is null or embedder_id > coalesce((select id from own), 0) or embedder_id < coalesce((select id from own), 0)
        limit 1
      )
      select (select id from own) as id, exists (select 1 from foreign_chunk) as is_foreign,
        (select embedder.name from foreign_chunk join clara.corpus_embedder embedder on embedder.id = foreign_chunk.embedder_id) as stored`.execute(
      this.#store.db,
    );
    const row = result.rows[0]!;
    if (row.id === null) return { embedderId: null, foreign: row.is_foreign, stored: row.stored, isIndexed: false };
    const index = await sql<{ found: boolean }>`select to_regclass(${`clara.${vectorIndexName(row.id)}`}) is not null as found`.execute(
      this.#store.db,
    );
    return { embedderId: row.id, foreign: row.is_foreign, stored: row.stored, isIndexed: index.rows[0]!.found };
  }

  async #requireFewVectors(embedderId: number, filters: ParsedQuery["filters"]): Promise<void> {
    const result = await sql<{ count: string }>`
      select count(*) as count from (
        select 1 from clara.corpus_chunk chunk where chunk.embedder_id = ${embedderId} and ${filterCondition(filters)} limit ${this.#exactLimit + 1}
      ) counted`.execute(this.#store.db);
    if (Number(result.rows[0]!.count) <= this.#exactLimit) return;
    throw missing(
      "vector",
      `This PostgreSQL has no pgvector, and more than ${this.#exactLimit} texts would have to be compared one by one. Install the extension "vector", narrow the filters, or search with searchTypes: ["keyword"].`,
    );
  }
}

function missing(capability: string, message: string): StorageError {
  return new StorageError("capability_missing", message, { details: { capability } });
}

function toResult(row: FoundChunk): SearchResult {
  const scores: SearchResult["scores"] = {};
  if (row.vector !== null) scores.vector = clamp(Number(row.vector));
  if (row.keyword !== null) scores.keyword = clamp(Number(row.keyword));
  const metadata = {
    ...(row.metadata as SearchResult["metadata"]),
    documentId: row.document_id,
    chunk: row.position,
    domain: row.domain,
    language: row.language,
    quality: row.quality,
    ...(row.title === null ? {} : { title: row.title }),
    ...(row.document_type === null ? {} : { documentType: row.document_type }),
    ...(row.date === null ? {} : { date: row.date.toISOString() }),
  };
  return { id: row.id, content: row.content, score: clamp(Number(row.score)), scores, source: row.source, metadata };
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
