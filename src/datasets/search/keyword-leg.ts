import { type RawBuilder, sql } from "kysely";
import { insideLongerWords, wordPartsOf } from "./compound-words.js";

/** Chunks that one word brings in at most; beyond, it tells nothing. */
const MATCHES_PER_WORD = 20_000;
/** How many times as many chunks are ranked as are handed on. */
const RANKED_PER_CANDIDATE = 2;
/** The usual constants of BM25: how soon another mention of a word counts less, and how much the length of a chunk counts. */
const K1 = 1.2;
const B = 0.75;
/** How much more a word in a title counts. */
const MORE_IN_TITLE = 1;
/** Of so many chunks, those that have most of the query, the mean length is taken: the same whatever `topK` is. */
const SAMPLED_FOR_LENGTH = 100;

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

function hasOperators(queryText: string): boolean {
  return /"[^"]+"|(?:^|\s)-[\p{L}\p{N}"]|\sOR\s/u.test(queryText);
}

/**
 * BM25 (Robertson and Zaragoza 2009) over what a chunk of usual length would have that has each word of the query once, and its hyperbolic tangent, so that scores are absolute and
 * below 1: such a chunk has .76. A word counts by how rare it is, and by how often it stands in the chunk for its length: times · (k1 + 1) / (times + k1 · (1 − b + b · length / usual length)).
 *
 * Which chunks have which words comes from the index alone; only for the best of them the words are counted, which is the expensive part.
 * The weight of a word is ln(1 + chunks / chunks that have it), that of a word that no chunk has is ln 2.
 */
export function keywordLeg(
  { queryText, hasTrigrams }: { queryText: string; hasTrigrams: boolean },
  condition: RawBuilder<boolean>,
  perLeg: number,
): RawBuilder<unknown> {
  const parts = hasTrigrams && !hasOperators(queryText) ? wordPartsOf(queryText) : [];
  const satisfies = hasOperators(queryText) ? sql`chunk.search @@ queries.query` : sql`true`;
  const lexeme = sql`('''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''')::tsquery`;
  return sql`
    with found as materialized (
      select queries.config, word, 1::double precision as share, word as shown, found.id
      from queries cross join unnest(queries.words) as word
      cross join lateral (
        select chunk.id from clara.corpus_chunk chunk
        where chunk.language = queries.config and chunk.search @@ ${lexeme} and ${satisfies} and ${condition}
        limit ${MATCHES_PER_WORD}
      ) found
    ),
    matches as materialized (select * from found ${parts.length > 0 ? sql`union all ${insideLongerWords(parts, condition)}` : sql``}),
    frequencies as (select config, word, count(*)::double precision as chunks from matches group by config, word),
    total as (select greatest((select count(*) from clara.corpus_document), (select max(chunks) from frequencies)) as chunks),
    weights as (
      select queries.config, word, ln(1 + coalesce(total.chunks / frequencies.chunks, 1)) as weight
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
    select counted.id, tanh(ranked.score) as score, counted.shown[1:5] as reasons
    from counted
    cross join (select avg(length) as length from counted where place <= ${SAMPLED_FOR_LENGTH}) usual
    cross join lateral (
      select sum(asked.weight * often * ${K1 + 1}::double precision / (often + ${K1}::double precision * (1 - ${B}::double precision + ${B}::double precision * counted.length / usual.length)))
        / counted.possible as score
      from unnest(counted.words, counted.weights) as asked (word, weight)
      left join unnest(counted.lexemes, counted.times) as found (word, times) using (word)
      cross join lateral (select coalesce(found.times, 1)::double precision as often) counts
    ) ranked
    order by score desc, counted.id
    limit ${perLeg}`;
}
