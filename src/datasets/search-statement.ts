import { type RawBuilder, sql } from "kysely";
import { vectorTypeOf } from "./embeddings.js";

/** Chunks that one word brings in at most; beyond, it tells nothing. */
const MATCHES_PER_WORD = 20_000;
/** How many times as many chunks are ranked as are handed on. */
const RANKED_PER_CANDIDATE = 2;

/** The query's vector, and whose vectors it is compared with. */
export interface VectorLeg {
  embedderId: number;
  vector: readonly number[];
  /** True where pgvector does the comparing. */
  hasPgvector: boolean;
}

/** What one search asks for. */
export interface StatementInput {
  queryText: string;
  condition: RawBuilder<boolean>;
  /** Candidates that each leg hands to the fusion. */
  perLeg: number;
  topK: number;
  keyword: { weight: number } | null;
  vector: (VectorLeg & { weight: number }) | null;
}

/** One row of the answer. */
export interface FoundChunk {
  id: string;
  document_id: string;
  position: number;
  content: string;
  title: string | null;
  document_type: string | null;
  domain: string;
  language: string;
  source: string;
  date: Date | null;
  quality: number;
  metadata: Record<string, unknown>;
  keyword: number | null;
  vector: number | null;
  score: number;
}

/**
 * The whole search as one statement: each leg filters, scores 0..1 and caps; the fusion is the weighted mean over the legs that were asked for, a leg that did not find a chunk counting 0.
 *
 * Keyword score: share of the query's words (rare ones count more) in the chunk × (½ + ½ · `ts_rank_cd` with normalisation 32, that is rank / (rank + 1)); so a chunk with all words is above ½.
 * Vector score: cosine, negative ones as 0.
 */
export function searchStatement(input: StatementInput): RawBuilder<FoundChunk> {
  const { keyword, vector, condition, perLeg, topK } = input;
  const weights = (keyword?.weight ?? 0) + (vector?.weight ?? 0);
  const none = sql`select null::text as id, null::double precision as score where false`;
  const cosine = vector ? cosineOf(vector) : sql`null::double precision`;
  return sql<FoundChunk>`
    with queries as materialized (${queriesOf(input.queryText)}),
    keyword_leg as materialized (${keyword ? keywordLeg(input.queryText, condition, perLeg) : none}),
    vector_leg as materialized (${vector ? vectorLeg(vector, condition, perLeg) : none}),
    candidates as (select id from keyword_leg union select id from vector_leg),
    scored as (
      select candidates.id, keyword_leg.score as keyword,
        case when ${vector === null} then null else coalesce(vector_leg.score, ${cosine}) end as vector
      from candidates
      join clara.corpus_chunk chunk on chunk.id = candidates.id
      left join keyword_leg on keyword_leg.id = candidates.id
      left join vector_leg on vector_leg.id = candidates.id
    ),
    fused as (
      select id, keyword, vector,
        (coalesce(keyword, 0) * ${keyword?.weight ?? 0}::double precision + coalesce(vector, 0) * ${vector?.weight ?? 0}::double precision) / ${weights}::double precision as score
      from scored
    )
    select fused.id, fused.keyword, fused.vector, fused.score, chunk.document_id, chunk.position, chunk.content, chunk.title, chunk.document_type,
      chunk.domain, chunk.language::text as language, chunk.source, chunk.date, chunk.quality, chunk.metadata
    from fused join clara.corpus_chunk chunk on chunk.id = fused.id
    where fused.score > 0
    order by fused.score desc, fused.id
    limit ${topK}`;
}

/** The query's words in each language. Without operators (quotes, OR, a leading minus) any of them may match: a question is no list of conditions. */
function queriesOf(queryText: string): RawBuilder<unknown> {
  const query = hasOperators(queryText)
    ? sql`websearch_to_tsquery(config, ${queryText})`
    : sql`replace(plainto_tsquery(config, ${queryText})::text, ' & ', ' | ')::tsquery`;
  return sql`
    select config, ${query} as query, tsvector_to_array(to_tsvector(config, ${queryText})) as words
    from unnest(array['english', 'german', 'simple']::regconfig[]) as config`;
}

function hasOperators(queryText: string): boolean {
  return /"[^"]+"|(?:^|\s)-[\p{L}\p{N}"]|\sOR\s/u.test(queryText);
}

/**
 * Which chunks have which words comes from the index alone; only the best of them are ranked by the places of the words, which is the expensive part.
 * Rare words count more: the weight of a word is ln(1 + chunks / chunks that have it), that of a word that no chunk has is ln 2.
 */
function keywordLeg(queryText: string, condition: RawBuilder<boolean>, perLeg: number): RawBuilder<unknown> {
  const satisfies = hasOperators(queryText) ? sql`chunk.search @@ queries.query` : sql`true`;
  const lexeme = sql`('''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''')::tsquery`;
  return sql`
    with matches as materialized (
      select queries.config, word, found.id
      from queries cross join unnest(queries.words) as word
      cross join lateral (
        select chunk.id from clara.corpus_chunk chunk
        where chunk.language = queries.config and chunk.search @@ ${lexeme} and ${satisfies} and ${condition}
        limit ${MATCHES_PER_WORD}
      ) found
    ),
    frequencies as (select config, word, count(*)::double precision as chunks from matches group by config, word),
    total as (select greatest((select count(*) from clara.corpus_document), (select max(chunks) from frequencies)) as chunks),
    weights as (
      select queries.config, word, ln(1 + coalesce(total.chunks / frequencies.chunks, 1)) as weight
      from queries cross join unnest(queries.words) as word cross join total
      left join frequencies using (config, word)
    ),
    possible as (select config, sum(weight) as weight from weights group by config),
    best as (
      select matches.id, matches.config, sum(weights.weight) / min(possible.weight) as coverage
      from matches join weights using (config, word) join possible using (config)
      group by matches.id, matches.config
      order by coverage desc, matches.id
      limit ${perLeg * RANKED_PER_CANDIDATE}
    )
    select best.id, best.coverage * (0.5 + 0.5 * ts_rank_cd('{0.5, 0.6, 0.8, 1.0}', chunk.search, queries.query, 32)) as score
    from best join queries using (config) join clara.corpus_chunk chunk on chunk.id = best.id
    order by score desc, best.id
    limit ${perLeg}`;
}

function vectorLeg(vector: VectorLeg, condition: RawBuilder<boolean>, perLeg: number): RawBuilder<unknown> {
  // The embedder's number stands in the text, not in a parameter, so that the planner can match the partial index.
  const own = sql`chunk.embedder_id = ${sql.lit(vector.embedderId)} and chunk.embedding is not null and ${condition}`;
  if (!vector.hasPgvector) {
    return sql`
      select chunk.id, ${cosineOf(vector)} as score from clara.corpus_chunk chunk
      where ${own} order by score desc, chunk.id limit ${perLeg}`;
  }
  return sql`
    select nearest.id, greatest(0, 1 - nearest.distance) as score
    from (
      select chunk.id, ${distanceOf(vector)} as distance from clara.corpus_chunk chunk
      where ${own} order by distance limit ${perLeg}
    ) nearest`;
}

/** Cosine of a chunk's vector and the query's, both of unit length; null where the chunk has no vector of this embedder. */
function cosineOf(vector: VectorLeg): RawBuilder<unknown> {
  const isOwn = sql`chunk.embedder_id = ${sql.lit(vector.embedderId)} and chunk.embedding is not null`;
  if (vector.hasPgvector) return sql`case when ${isOwn} then greatest(0, 1 - (${distanceOf(vector)})) end`;
  return sql`
    case when ${isOwn} then greatest(0, (
      select sum(pair.stored::double precision * pair.asked::double precision)
      from unnest(chunk.embedding, ${[...vector.vector]}::real[]) as pair (stored, asked)
    )) end`;
}

function distanceOf(vector: VectorLeg): RawBuilder<unknown> {
  const dimensions = vector.vector.length;
  const type = sql`${sql.raw(vectorTypeOf(dimensions).type)}(${sql.lit(dimensions)})`;
  return sql`chunk.embedding::${type} <=> ${JSON.stringify(vector.vector)}::${type}`;
}
