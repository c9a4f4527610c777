import { sql } from "kysely";
import { z } from "zod";
import { AbortedError, ConflictError, StorageError, ValidationError } from "../../errors.js";
import type { Store } from "../../store/store.js";
import {
  type CallOptions,
  type Embedder,
  type EntityExtractor,
  JudgedQuery,
  SearchQuery,
  type SearchResult,
  SearchSettings,
  type SearchTuning,
  type SearchType,
} from "../../types/index.js";
import { findEncodingFault } from "../checks/encoding.js";
import { embedUnit } from "../embeddings.js";
import { extractGraphs } from "../graph/corpus-graph.js";
import { entityNameOf, possibleNamesOf } from "../graph/entity-name.js";
import type { GraphLeg } from "./graph-leg.js";
import { filterCondition } from "./search-filters.js";
import { toResult } from "./search-result.js";
import { readSearchState, type SearchState } from "./search-state.js";
import { type FoundChunk, type StatementInput, searchStatement } from "./search-statement.js";
import { forgetTunedSettings, readTunedSettings, saveTunedSettings, type TunedScope } from "./tuned-settings.js";
import { chooseSettings, type JudgedCandidates, toCandidates } from "./tuning.js";
import type { VectorLeg } from "./vector-leg.js";

/** A misspelt field would take back what was tuned for all. */
const Scope = z.strictObject({ tenant: z.string().optional(), domain: z.string().optional() });

/** Without pgvector every vector is compared; above this many the answer would take seconds. */
const EXACT_LIMIT = 5_000;
/** Entries that the index looks at, at least: with as few as are handed on, every seventh of the nearest ten is missed. */
const LEAST_CANDIDATES = 200;
/** pgvector scans no more index entries than this in one go. */
const MOST_CANDIDATES = 1000;

/** Results that tuning looks at; the legs hand on twice as many. */
const TUNED_DEPTH = 100;

/** Options of `tuneSearch`. */
export interface TuneOptions extends CallOptions {
  /** As in a search; default: none. */
  filters?: SearchQuery["filters"];
  /**
   * Keeps the result in the store as the default of searches with the same `tenant` and `domain` in their filters (without them: of all searches that nothing narrower
   * was kept for), in this and every other process. `resetSearch` takes it back. Default false.
   */
  apply?: boolean;
}

type ParsedQuery = ReturnType<typeof SearchQuery.parse>;

/** Search over the corpus by vectors, keywords and entities, fused in one statement. */
export class HybridSearch {
  readonly #store: Store;
  readonly #embedder: Embedder | undefined;
  readonly #extractor: EntityExtractor | undefined;
  readonly #exactLimit: number;
  readonly #settings: SearchSettings;

  constructor(parts: { store: Store; embedder?: Embedder; extractor?: EntityExtractor; settings?: SearchSettings; exactLimit?: number }) {
    this.#store = parts.store;
    this.#embedder = parts.embedder;
    this.#extractor = parts.extractor;
    this.#exactLimit = parts.exactLimit ?? EXACT_LIMIT;
    this.#settings = parseSettings(parts.settings ?? {});
  }

  /** Best first. @throws ValidationError; StorageError `capability_missing` for a search type that this store cannot do, never a silently shorter search */
  async search(query: SearchQuery, options: CallOptions = {}): Promise<SearchResult[]> {
    return (await this.#rows(query, options)).rows.map(toResult);
  }

  /** Chooses settings by judged queries, see `chooseSettings`; `apply` keeps them as the defaults of such searches. */
  async tune(judged: readonly JudgedQuery[], { filters, apply, signal }: TuneOptions = {}): Promise<SearchTuning> {
    const parsed = z.array(JudgedQuery).safeParse(judged);
    if (!parsed.success) throw invalid("judged queries are", parsed.error);
    const queries: JudgedCandidates[] = [];
    const legs = new Set<SearchType>();
    for (const one of parsed.data) {
      const query = { queryText: one.queryText, filters, fusion: "rrf" as const, topK: TUNED_DEPTH };
      const found = await this.#rows(query, { signal }, { isWhole: true });
      for (const leg of found.searchTypes) legs.add(leg);
      queries.push(toCandidates(one, found));
    }
    const tuning = chooseSettings(queries, [...legs].sort());
    if (apply) await saveTunedSettings(this.#store.db, { tenant: filters?.tenant, domain: filters?.domain }, tuning.settings);
    return tuning;
  }

  /** Takes back what `apply` kept for exactly this tenant and domain; false where nothing was. */
  async reset(scope: TunedScope, { signal }: CallOptions = {}): Promise<boolean> {
    if (signal?.aborted) throw new AbortedError();
    const parsed = Scope.safeParse(scope);
    if (!parsed.success) throw invalid("scope is", parsed.error);
    return forgetTunedSettings(this.#store.db, scope);
  }

  /** What a query leaves open: as tuned, else as this search was made. A tuned leg that this process has nothing for is left out. */
  async #defaultsOf({ tenant, domain }: TunedScope): Promise<SearchSettings> {
    const tuned = await readTunedSettings(this.#store.db, { tenant, domain });
    if (tuned === null) return this.#settings;
    const has: Record<SearchType, boolean> = { vector: this.#embedder !== undefined, graph: this.#extractor !== undefined, keyword: true };
    const searchTypes = tuned.searchTypes.filter((type) => has[type]);
    return searchTypes.length > 0 ? { ...tuned, searchTypes } : this.#settings;
  }

  /** `isWhole`: every candidate of every leg that there is, whatever the defaults say. */
  async #rows(
    query: SearchQuery,
    { signal }: CallOptions,
    { isWhole = false } = {},
  ): Promise<{ rows: FoundChunk[]; searchTypes: Set<SearchType>; active: Set<SearchType> }> {
    if (signal?.aborted) throw new AbortedError();
    const own = parse(query);
    const parsed = isWhole ? own : parse({ ...(await this.#defaultsOf(own.filters)), ...withoutUndefined(query) });
    const { queryText, topK, weights, filters } = parsed;
    const embedded = await this.#embed(parsed, signal);
    const state = await readSearchState(this.#store.db, embedded);
    const searchTypes = new Set(parsed.searchTypes ?? this.#availableTypes(state));
    requireWeight(searchTypes, weights);
    const perLeg = Math.min(MOST_CANDIDATES, Math.max(50, 2 * topK));
    const vector = searchTypes.has("vector") ? await this.#vectorLeg(embedded, state, filters) : null;
    const graph = searchTypes.has("graph") ? await this.#graphLeg(parsed, signal) : null;
    if (signal?.aborted) throw new AbortedError();
    const rows = await this.#execute({
      queryText,
      condition: filterCondition(filters),
      perLeg,
      topK: isWhole ? 3 * perLeg : topK,
      fusion: parsed.fusion,
      keyword: searchTypes.has("keyword") ? { weight: weights.keyword, hasTrigrams: this.#store.capabilities.trigram } : null,
      vector: vector && { ...vector, weight: weights.vector },
      graph: graph && { ...graph, weight: weights.graph },
    });
    const active = new Set<SearchType>(searchTypes.has("keyword") ? ["keyword"] : []);
    if (vector) active.add("vector");
    if (rows.some((row) => row.graph !== null)) active.add("graph");
    return { rows, searchTypes, active };
  }

  async #execute(input: StatementInput): Promise<FoundChunk[]> {
    const statement = searchStatement(input);
    const { db } = this.#store;
    if (!input.vector?.isIndexed) return (await statement.execute(db)).rows;
    return db.transaction().execute(async (transaction) => {
      // Filters apply after the index scan; the iterative scan goes on until enough rows have passed them.
      await sql`select set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.ef_search', ${String(Math.max(LEAST_CANDIDATES, input.perLeg))}, true)`.execute(
        transaction,
      );
      return (await statement.execute(transaction)).rows;
    });
  }

  /** Nobody asked for a leg where nobody chose: then all that there is something for. */
  #availableTypes(state: SearchState): SearchType[] {
    return [
      ...(this.#embedder ? (["vector"] as const) : []),
      ...(this.#extractor && state.hasEntities ? (["graph"] as const) : []),
      "keyword",
    ];
  }

  async #embed(query: ParsedQuery, signal?: AbortSignal): Promise<{ name: string; dimensions: number; vector: number[] | null } | null> {
    const embedder = this.#embedder;
    if (query.searchTypes && !query.searchTypes.includes("vector")) return null;
    if (!embedder) {
      if (!query.searchTypes) return null;
      throw missing(
        "vector",
        'Vector search needs an embedder, and the DatasetManager was given none. Give it one, or search with searchTypes: ["keyword"].',
      );
    }
    const [vector] = await embedUnit(embedder, [query.queryText], { signal });
    return { name: embedder.name, dimensions: vector?.length ?? embedder.dimensions, vector: vector ?? null };
  }

  async #vectorLeg(
    embedded: { name: string; dimensions: number; vector: number[] | null } | null,
    state: SearchState,
    filters: ParsedQuery["filters"],
  ): Promise<VectorLeg | null> {
    if (!embedded) return null;
    const { name, dimensions, vector } = embedded;
    if (state.isForeign) {
      throw new ConflictError(
        "capability_missing",
        `The corpus has texts without vectors of the embedder ${name} (${dimensions} dimensions). Call datasets.reembed() once, or search with searchTypes: ["keyword"].`,
        { details: { capability: "vector", embedder: name, dimensions, stored: state.stored } },
      );
    }
    // A query without direction, or an empty corpus, has no neighbours.
    if (!vector || state.embedderId === null) return null;
    const hasPgvector = this.#store.capabilities.vector;
    if (!hasPgvector) await this.#requireFewVectors(state.embedderId, filters);
    return { embedderId: state.embedderId, vector, hasPgvector, isIndexed: hasPgvector && state.isIndexed };
  }

  async #graphLeg(query: ParsedQuery, signal?: AbortSignal): Promise<GraphLeg> {
    if (!this.#extractor) {
      throw missing(
        "graph",
        'Graph search needs an entity extractor, and the DatasetManager was given null. Leave the option entityExtractor out, or leave "graph" out of searchTypes.',
      );
    }
    const [graph] = await extractGraphs(this.#extractor, [query.queryText], { signal });
    const extracted = graph!.entities.map(({ name }) => entityNameOf(name)).filter((name) => name !== "" && !findEncodingFault(name));
    return { names: [...new Set([...extracted, ...possibleNamesOf(query.queryText)])], hops: query.hops };
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

function parse(query: SearchQuery): ParsedQuery {
  const parsed = SearchQuery.safeParse(query);
  if (!parsed.success) throw invalid("search query is", parsed.error);
  const fault = [parsed.data.queryText, parsed.data.filters.documentType ?? "", parsed.data.filters.tenant ?? ""]
    .map(findEncodingFault)
    .find((found) => found !== null);
  if (fault)
    throw new ValidationError("input_invalid", `The search query is not valid text: ${fault}.`, { details: { field: "queryText" } });
  return parsed.data;
}

function invalid(what: string, error: z.ZodError): ValidationError {
  const issue = error.issues[0];
  const field = issue?.path.join(".") ?? "";
  return new ValidationError("input_invalid", `The ${what} invalid at ${field || "the root"}: ${issue?.message}.`, { details: { field } });
}

function parseSettings(settings: SearchSettings): SearchSettings {
  const parsed = SearchSettings.safeParse(settings);
  if (!parsed.success) throw invalid("search settings are", parsed.error);
  return parsed.data;
}

/** What a query leaves open is decided by the settings. */
function withoutUndefined(query: SearchQuery): SearchQuery {
  return Object.fromEntries(Object.entries(query ?? {}).filter(([, value]) => value !== undefined)) as SearchQuery;
}

function requireWeight(searchTypes: ReadonlySet<SearchType>, weights: ParsedQuery["weights"]): void {
  if ([...searchTypes].some((type) => weights[type] > 0)) return;
  throw new ValidationError("input_invalid", `The weights of ${[...searchTypes].join(" and ")} are all 0. Give one of them a weight.`, {
    details: { field: "weights" },
  });
}

function missing(capability: string, message: string): StorageError {
  return new StorageError("capability_missing", message, { details: { capability } });
}
