import { type Kysely, type RawBuilder, sql } from "kysely";
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
} from "../datasets/search/bm25.js";
import { CONTENT_LENGTH, type DocumentFields, type LegHit } from "./leg.js";
import type { ResolvedMapping } from "./mapping.js";
import { filteredField, type Uds3Filters, type Uds3Query } from "./search-query.js";

type PostgresMapping = ResolvedMapping["postgres"];

/** Of a question of one word the words are counted in so many documents, of two words in half as many: of few words many documents have the same. */
const COUNTED_PER_SEARCH = 500;

interface DocumentRow {
  id: string;
  content: string | null;
  title: string | null;
  document_type: string | null;
  domain: string | null;
  source: string | null;
  date: Date | null;
  quality: number | null;
  metadata: Record<string, unknown> | null;
}

/** Documents with the question's words, scored by BM25 (see `wordScore`) in each of the mapping's full-text configurations; the better one counts. */
export async function keywordLeg(
  parts: { db: Kysely<unknown>; mapping: PostgresMapping; deadlineMs: number },
  query: Uds3Query,
): Promise<LegHit[]> {
  const { mapping } = parts;
  const condition = postgresFilter(query.filters, mapping);
  const languages = Object.entries(mapping.textSearch).map(([configuration, column]) =>
    bestOf(configuration, column, condition, query, mapping),
  );
  const statement = sql<DocumentRow & { score: number }>`
    with found as (${sql.join(languages, sql` union all `)}),
    best as (select id, max(score) as score from found group by id order by 2 desc, 1 limit ${query.perLeg})
    select best.score, ${documentColumns(mapping)}
    from best join ${tableOf(mapping)} document on ${column(mapping.columns.id)} = best.id
    order by best.score desc, best.id`;
  const rows = await readOnly(parts, statement);
  return rows.map((row) => ({ ...toDocument(row), score: Math.min(1, Math.max(0, Number(row.score))) }));
}

/** Texts and fields of documents by their ids. */
export async function readDocuments(
  parts: { db: Kysely<unknown>; mapping: PostgresMapping; deadlineMs: number },
  ids: readonly string[],
): Promise<Map<string, Omit<LegHit, "score">>> {
  const { mapping } = parts;
  const statement = sql<DocumentRow>`
    select ${documentColumns(mapping)} from ${tableOf(mapping)} document where ${column(mapping.columns.id)}::text = any(${[...ids]}::text[])`;
  const rows = await readOnly(parts, statement);
  return new Map(rows.map((row) => [row.id, toDocument(row)]));
}

/** The server stops working when nobody waits any more. */
async function readOnly<T>(parts: { db: Kysely<unknown>; deadlineMs: number }, statement: RawBuilder<T>): Promise<T[]> {
  return parts.db
    .transaction()
    .setAccessMode("read only")
    .execute(async (transaction) => {
      await sql`select set_config('statement_timeout', ${String(parts.deadlineMs)}, true), set_config('TimeZone', 'UTC', true)`.execute(
        transaction,
      );
      return (await statement.execute(transaction)).rows;
    });
}

/**
 * Needs nothing but the table: which documents have which words, and how many have each, comes from the index alone; only in the best by rare words
 * they are counted, each `tsvector` unpacked once (`setweight` of no words): of a long document that is most of the work. A document's length is its number
 * of different words, which a `tsvector` knows.
 */
function bestOf(
  configuration: string,
  vectorColumn: string,
  condition: RawBuilder<unknown>,
  query: Uds3Query,
  mapping: PostgresMapping,
): RawBuilder<unknown> {
  const language = sql`${configuration}::regconfig`;
  const vector = column(vectorColumn);
  const satisfies = hasOperators(query.queryText) ? sql`${vector} @@ websearch_to_tsquery(${language}, ${query.queryText})` : sql`true`;
  const table = tableOf(mapping);
  return sql`select ranked.id, ranked.score from (
    with words as materialized (select unnest(tsvector_to_array(to_tsvector(${language}, ${query.queryText}))) as word),
    matches as materialized (
      select word, hit.id from words cross join lateral (
        select ${column(mapping.columns.id)} as id from ${table} document
        where ${vector} @@ ${WORD_AS_QUERY} and ${satisfies} and ${condition}
        limit ${MATCHES_PER_WORD}
      ) hit
    ),
    frequencies as (select word, count(*)::double precision as documents from matches group by word),
    total as (
      select greatest((select reltuples from pg_class where oid = ${tableName(mapping)}::regclass), (select max(documents) from frequencies), 1) as documents
    ),
    weights as materialized (
      select word, ${wordWeight(sql`total.documents`, sql`frequencies.documents`)} as weight
      from words cross join total left join frequencies using (word)
    ),
    best as materialized (
      select matches.id, sum(weights.weight) as weight, array_agg(word) as words, array_agg(weights.weight) as weights
      from matches join weights using (word) group by matches.id
      order by 2 desc, 1
      limit (select greatest(${query.perLeg * RANKED_PER_CANDIDATE}, ${COUNTED_PER_SEARCH} / greatest(1, count(*))) from words)
    ),
    counted as materialized (
      select best.id, best.weight, inside.*
      from best join ${table} document on ${column(mapping.columns.id)} = best.id
      cross join lateral (select setweight(${vector}, 'A', array[]::text[]) as vector offset 0) unpacked
      cross join lateral (
        select length(unpacked.vector) as length, array_agg(weight) as weights, array_agg(${timesIn(sql`unpacked.vector`)}) as times
        from unnest(best.words, best.weights) as asked (word, weight)
      ) inside
    )
    select counted.id, ${absoluteScore(sql`found.sum`, sql`(select sum(weight) from weights)`)} as score
    from counted
    cross join (
      select avg(length)::double precision as length from (select length from counted order by weight desc, id limit ${SAMPLED_FOR_LENGTH}) sample
    ) usual
    cross join lateral (
      select sum(${wordScore({ weight: sql`weight`, times: sql`times`, length: sql`counted.length`, usualLength: sql`usual.length` })}) as sum
      from unnest(counted.weights, counted.times) as asked (weight, times)
    ) found
  ) ranked`;
}

/**
 * How often `word` stands in a vector: of one word alone, `ts_rank_cd` is the sum of the weights of its places (at most 1 each, for D, C, B and A). A vector
 * without places counts as having it once.
 */
function timesIn(vector: RawBuilder<unknown>): RawBuilder<number> {
  const most = 1 + MORE_IN_TITLE;
  const weights = [1, 1, 1, most].map((weight) => weight / most);
  return sql`greatest(1, ${most}::double precision * ts_rank_cd(${weights}::real[], ${vector}, ${WORD_AS_QUERY}))`;
}

/** Conditions on `document`; values are parameters only. */
function postgresFilter(filters: Uds3Filters, { columns }: PostgresMapping): RawBuilder<unknown> {
  const conditions: RawBuilder<unknown>[] = [sql`true`];
  const field = (name: string | null, filter: string): RawBuilder<unknown> => column(filteredField(name, filter, "PostgreSQL"));
  if (filters.documentType !== undefined) conditions.push(sql`${field(columns.documentType, "documentType")} = ${filters.documentType}`);
  if (filters.domain !== undefined) conditions.push(sql`${field(columns.domain, "domain")} = ${filters.domain}`);
  if (filters.minQuality !== undefined) conditions.push(sql`${field(columns.quality, "minQuality")} >= ${filters.minQuality}`);
  if (filters.from !== undefined) conditions.push(sql`${field(columns.date, "from")}::timestamptz >= ${filters.from}`);
  if (filters.to !== undefined) {
    const moment = sql`${field(columns.date, "to")}::timestamptz`;
    conditions.push(filters.isToExclusive ? sql`${moment} < ${filters.to}` : sql`${moment} <= ${filters.to}`);
  }
  return sql.join(conditions, sql` and `);
}

function documentColumns({ columns }: PostgresMapping): RawBuilder<unknown> {
  const text = (name: string | null): RawBuilder<unknown> => (name === null ? sql`null::text` : sql`${column(name)}::text`);
  return sql`${text(columns.id)} as id, left(${text(columns.content)}, ${CONTENT_LENGTH}) as content, ${text(columns.title)} as title,
    ${text(columns.documentType)} as document_type, ${text(columns.domain)} as domain, ${text(columns.source)} as source,
    ${columns.date === null ? sql`null` : column(columns.date)}::timestamptz as date,
    ${columns.quality === null ? sql`null` : column(columns.quality)}::double precision as quality,
    ${columns.metadata === null ? sql`null` : column(columns.metadata)}::jsonb as metadata`;
}

function toDocument(row: DocumentRow): Omit<LegHit, "score"> {
  const fields: DocumentFields = {
    title: row.title,
    documentType: row.document_type,
    domain: row.domain,
    source: row.source,
    date: row.date?.toISOString() ?? null,
    quality: row.quality,
    metadata: row.metadata,
  };
  return { documentId: row.id, content: row.content, fields };
}

/** A column of the table under its alias `document`. */
function column(name: string): RawBuilder<unknown> {
  return sql`document.${sql.id(name)}`;
}

export function tableOf(mapping: PostgresMapping): RawBuilder<unknown> {
  return sql`${sql.id(mapping.schema, mapping.table)}`;
}

/** The table's name as a value; the mapping lets no quotes through. */
function tableName(mapping: PostgresMapping): string {
  return `"${mapping.schema}"."${mapping.table}"`;
}
