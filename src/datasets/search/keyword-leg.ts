import { type RawBuilder, sql } from "kysely";
import { insideLongerWords, wordPartsOf } from "./compound-words.js";

/** Chunks that one word brings in at most; beyond, it tells nothing. */
const MATCHES_PER_WORD = 20_000;
/** How many times as many chunks are ranked as are handed on. */
const RANKED_PER_CANDIDATE = 2;

/** The query's words in each language. Without operators (quotes, OR, a leading minus) any of them may match: a question is no list of conditions. */
export function queriesOf(queryText: string): RawBuilder<unknown> {
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
    best as (
      select matches.id, matches.config, least(1, sum(weights.weight * matches.share) / min(possible.weight)) as coverage, array_agg(matches.shown order by weights.weight desc, word) as words
      from matches join weights using (config, word) join possible using (config)
      group by matches.id, matches.config
      order by coverage desc, matches.id
      limit ${perLeg * RANKED_PER_CANDIDATE}
    )
    select best.id, best.coverage * (0.5 + 0.5 * ts_rank_cd('{0.5, 0.6, 0.8, 1.0}', chunk.search, queries.query, 32)) as score, best.words[1:5] as reasons
    from best join queries using (config) join clara.corpus_chunk chunk on chunk.id = best.id
    order by score desc, best.id
    limit ${perLeg}`;
}
