import { type RawBuilder, type Selectable, sql } from "kysely";
import type { CorpusChunkTable } from "../../store/tables/corpus.js";
import type { SearchFusion } from "../../types/index.js";
import { fusedScore } from "./fusion.js";
import { type GraphLeg, graphSteps } from "./graph-leg.js";
import { keywordLeg, queriesOf } from "./keyword-leg.js";
import { cosineOf, type VectorLeg, vectorLeg } from "./vector-leg.js";

/** What one search asks for. */
export interface StatementInput {
  queryText: string;
  condition: RawBuilder<boolean>;
  /** Candidates that each leg hands to the fusion. */
  perLeg: number;
  topK: number;
  fusion: SearchFusion;
  keyword: { weight: number; hasTrigrams: boolean } | null;
  vector: (VectorLeg & { weight: number }) | null;
  graph: (GraphLeg & { weight: number }) | null;
}

/** One row of the answer. */
export interface FoundChunk
  extends Pick<
    Selectable<CorpusChunkTable>,
    | "id"
    | "document_id"
    | "position"
    | "content"
    | "title"
    | "document_type"
    | "tenant"
    | "domain"
    | "language"
    | "source"
    | "date"
    | "quality"
    | "metadata"
  > {
  keyword: number | null;
  vector: number | null;
  graph: number | null;
  keyword_rank: string | null;
  vector_rank: string | null;
  graph_rank: string | null;
  /** Words of the query, stemmed, that the chunk has, or has inside longer ones (…word…); the heaviest first. */
  words: string[] | null;
  /** Paths from entities of the query to entities of the chunk; the best first. */
  paths: string[] | null;
  score: number;
}

/**
 * The whole search as one statement: each leg filters, scores 0..1 and caps; then the legs are fused, see `fusedScore`.
 * The graph leg counts only where the graph knows some entity of the query.
 *
 * Keyword score: see `keywordLeg`.
 * Vector score: cosine, negative ones as 0. Graph score: see `graphSteps`.
 */
export function searchStatement(input: StatementInput): RawBuilder<FoundChunk> {
  const { keyword, vector, graph, condition, perLeg, topK, fusion } = input;
  const none = sql`select null::text as id, null::double precision as score, null::text[] as reasons where false`;
  const cosine = vector ? cosineOf(vector) : sql`null::double precision`;
  const weightOf = (leg: { weight: number } | null) => sql`${leg?.weight ?? 0}::double precision`;
  const ranked = (leg: string) =>
    sql`(select *, row_number() over (order by score desc, id) as rank from ${sql.table(leg)} where score > 0) as ${sql.table(leg)}`;
  return sql<FoundChunk>`
    with recursive queries as materialized (${queriesOf(input.queryText)}),
    keyword_leg as materialized (${keyword ? keywordLeg({ queryText: input.queryText, hasTrigrams: keyword.hasTrigrams }, condition, perLeg) : none}),
    vector_leg as materialized (${vector ? vectorLeg(vector, condition, perLeg) : none}),
    ${graph ? graphSteps(graph, condition, perLeg) : sql`graph_leg as (${none})`},
    weights as (
      select ${weightOf(keyword)} as keyword, ${weightOf(vector)} as vector,
        case when exists (select 1 from graph_leg) then ${weightOf(graph)} else 0 end as graph
    ),
    candidates as (select id from keyword_leg union select id from vector_leg union select id from graph_leg),
    scored as (
      select candidates.id, keyword_leg.score as keyword, graph_leg.score as graph,
        keyword_leg.rank as keyword_rank, vector_leg.rank as vector_rank, graph_leg.rank as graph_rank, keyword_leg.reasons as words, graph_leg.reasons as paths,
        case when ${vector === null} then null else coalesce(vector_leg.score, ${cosine}) end as vector
      from candidates
      join clara.corpus_chunk chunk on chunk.id = candidates.id
      left join ${ranked("keyword_leg")} on keyword_leg.id = candidates.id
      left join ${ranked("vector_leg")} on vector_leg.id = candidates.id
      left join ${ranked("graph_leg")} on graph_leg.id = candidates.id
    ),
    fused as (
      select scored.*, ${fusedScore(fusion)} as score
      from scored cross join weights
    )
    select fused.id, fused.keyword, fused.vector, fused.graph, fused.keyword_rank, fused.vector_rank, fused.graph_rank, fused.words, fused.paths, fused.score,
      chunk.document_id, chunk.position, chunk.content, chunk.title, chunk.document_type, chunk.tenant,
      chunk.domain, chunk.language::text as language, chunk.source, chunk.date, chunk.quality, chunk.metadata
    from fused join clara.corpus_chunk chunk on chunk.id = fused.id
    where fused.score > 0
    order by fused.score desc, fused.id
    limit ${topK}`;
}
