import { type RawBuilder, sql } from "kysely";
import { wordsOf } from "../../embedders/index.js";
import type { Executor } from "../../store/store.js";

/** Words of a query that are looked for inside longer ones. */
const MOST_WORDS = 12;
/** Shorter parts stand in too many words. */
const SHORTEST_PART = 5;
/** Chunks that one part brings in at most. */
const MATCHES_PER_PART = 2_000;
/** What a word inside another one counts, beside a word that stands alone. */
const INSIDE_SHARE = 0.8;

const TEXT = sql`(coalesce(title, '') || ' ' || content)`;
const IS_GERMAN = sql`language in ('pg_catalog.german'::regconfig, 'pg_catalog.simple'::regconfig)`;

/** A word of a query, and what is left of it without its German ending: "Genehmigungen" stands in "Baugenehmigung". */
export interface WordPart {
  word: string;
  part: string;
}

/** The words that are long enough to be looked for inside others. */
export function wordPartsOf(queryText: string): WordPart[] {
  const words = [
    ...new Set(
      queryText
        .normalize("NFC")
        .toLowerCase()
        .match(/\p{L}+/gu) ?? [],
    ),
  ];
  return words
    .map((word) => ({ word, part: word.replace(/(?<=.{5})(?:e[nrsm]|[ens])$/u, "") }))
    .filter(({ part }) => part.length >= SHORTEST_PART && wordsOf(part).length > 0)
    .slice(0, MOST_WORDS);
}

/** Rows (config, word, share, shown, id) for each word of the query that `found` lacks and that stands inside a longer word of a German text. */
export function insideLongerWords(parts: readonly WordPart[], condition: RawBuilder<boolean>): RawBuilder<unknown> {
  return sql`
    select queries.config, lexeme as word, ${INSIDE_SHARE}::double precision as share, '…' || asked.part || '…' as shown, inside.id
    from queries
    cross join unnest(${parts.map(({ word }) => word)}::text[], ${parts.map(({ part }) => part)}::text[]) as asked (word, part)
    cross join unnest(tsvector_to_array(to_tsvector(queries.config, asked.word))) as lexeme
    cross join lateral (
      select chunk.id from clara.corpus_chunk chunk
      where ${IS_GERMAN} and chunk.language = queries.config and ${TEXT} ilike '%' || asked.part || '%' and ${condition}
      limit ${MATCHES_PER_PART}
    ) inside
    where queries.config in ('pg_catalog.german'::regconfig, 'pg_catalog.simple'::regconfig)
      and not exists (select 1 from found where found.config = queries.config and found.word = lexeme)`;
}

/** Builds the index for it where there is none yet; needs the extension pg_trgm. */
export async function buildTrigramIndex(executor: Executor): Promise<void> {
  const { rows } = await sql<{ found: boolean }>`select to_regclass('clara.corpus_chunk_trigram') is not null as found`.execute(executor);
  if (rows[0]!.found) return;
  const { rows: places } = await sql<{ schema: string }>`
    select nspname as schema from pg_extension join pg_namespace on pg_namespace.oid = extnamespace where extname = 'pg_trgm'`.execute(
    executor,
  );
  const schema = places[0]?.schema;
  if (schema === undefined) return;
  await sql`
    create index if not exists corpus_chunk_trigram on clara.corpus_chunk using gin (${TEXT} ${sql.ref(`${schema}.gin_trgm_ops`)})
    where ${IS_GERMAN}`.execute(executor);
}
