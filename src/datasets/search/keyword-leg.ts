import { type RawBuilder, sql } from "kysely";
import {
  absoluteScore,
  hasOperators,
  MATCHES_PER_WORD,
  MORE_IN_TITLE,
  RANKED_PER_CANDIDATE,
  SAMPLED_FOR_LENGTH,
  WORD_AS_QUERY,
  wordScore,
  wordWeight,
} from "./bm25.js";
import { insideLongerWords, wordPartsOf } from "./compound-words.js";

/** The query's words in each language that some chunk has: in another one they would only be looked up in vain. Without operators (quotes, OR, a leading minus) any of them may match: a question is no list of conditions. */
export function queriesOf(queryText: string): RawBuilder<unknown> {
  const query = hasOperators(queryText)
    ? sql`websearch_to_tsquery(config, ${queryText})`
    : sql`replace(plainto_tsquery(config, ${queryText})::text, ' & ', ' | ')::tsquery`;
  return sql`
    select config, ${query} as query, tsvector_to_array(to_tsvector(config, ${queryText})) as words
    from unnest(array['english', 'german', 'simple']::regconfig[]) as config
    where (select language from clara.corpus_chunk where language >= config order by language limit 1) = config`;
}

/**
 * BM25 (see `wordScore`) of the chunks in each language of the query.
 *
 * Which chunks have which words comes from the index alone; only for the best of them the words are counted, which is the expensive part.
 */
export function keywordLeg(
  { queryText, hasTrigrams }: { queryText: string; hasTrigrams: boolean },
  condition: RawBuilder<boolean>,
  perLeg: number,
): RawBuilder<unknown> {
  const parts = hasTrigrams && !hasOperators(queryText) ? wordPartsOf(queryText) : [];
  const satisfies = hasOperators(queryText) ? sql`chunk.search @@ queries.query` : sql`true`;
  return sql`
    with found as materialized (
      select queries.config, word, 1::double precision as share, word as shown, found.id
      from queries cross join unnest(queries.words) as word
      cross join lateral (
        select chunk.id from clara.corpus_chunk chunk
        where chunk.language = queries.config and chunk.search @@ ${WORD_AS_QUERY} and ${satisfies} and ${condition}
        limit ${MATCHES_PER_WORD}
      ) found
    ),
    matches as materialized (select * from found ${parts.length > 0 ? sql`union all ${insideLongerWords(parts, condition)}` : sql``}),
    frequencies as (select config, word, count(*)::double precision as chunks from matches group by config, word),
    total as (select greatest((select count(*) from clara.corpus_document), (select max(chunks) from frequencies)) as chunks),
    weights as (
      select queries.config, word, ${wordWeight(sql`total.chunks`, sql`frequencies.chunks`)} as weight
      from queries cross join unnest(queries.words) as word cross join total
      left join frequencies using (config, word)
    ),
    possible as (select config, sum(weight) as weight from weights group by config),
    best as materialized (
      select matches.id, sum(weights.weight * matches.share) / min(possible.weight) as coverage, min(possible.weight) as possible,
        array_agg(word order by weights.weight desc, word) as words, array_agg(matches.shown order by weights.weight desc, word) as shown,
        array_agg(weights.weight * matches.share order by weights.weight desc, word) as weights
      from matches join weights using (config, word) join possible using (config)
      group by matches.id, matches.config
      order by coverage desc, matches.id
      limit ${perLeg * RANKED_PER_CANDIDATE}
    ),
    counted as materialized (
      select best.*, row_number() over (order by coverage desc, best.id) as place, inside.length, inside.lexemes, inside.times
      from best join clara.corpus_chunk chunk on chunk.id = best.id
      cross join lateral (
        select sum(cardinality(positions)) as length,
          array_agg(lexeme) filter (where lexeme = any(best.words)) as lexemes,
          array_agg(cardinality(positions) + ${MORE_IN_TITLE}::integer * cardinality(array_positions(weights, 'A'))) filter (where lexeme = any(best.words)) as times
        from unnest(chunk.search)
      ) inside
    )
    select counted.id, ${absoluteScore(sql`ranked.sum`, sql`counted.possible`)} as score, counted.shown[1:5] as reasons
    from counted
    cross join (select avg(length) as length from counted where place <= ${SAMPLED_FOR_LENGTH}) usual
    cross join lateral (
      select sum(${wordScore({ weight: sql`asked.weight`, times: sql`often`, length: sql`counted.length`, usualLength: sql`usual.length` })}) as sum
      from unnest(counted.words, counted.weights) as asked (word, weight)
      left join unnest(counted.lexemes, counted.times) as found (word, times) using (word)
      cross join lateral (select coalesce(found.times, 1)::double precision as often) counts
    ) ranked
    order by score desc, counted.id
    limit ${perLeg}`;
}
