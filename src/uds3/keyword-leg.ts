import { type Kysely, type RawBuilder, sql } from "kysely";
import type { DocumentFields, LegHit } from "./leg.js";
import type { ResolvedMapping } from "./mapping.js";
import { filteredField, type Uds3Filters, type Uds3Query } from "./search-query.js";

type PostgresMapping = ResolvedMapping["postgres"];

/** Documents that one word brings in at most; beyond, it tells nothing. */
const MATCHES_PER_WORD = 20_000;
/** How many times as many documents are ranked as are handed on. */
const RANKED_PER_CANDIDATE = 2;
/** Characters of a document's text that a result carries; the nearest chunk is shorter, and comes from the vector leg. */
const CONTENT_LENGTH = 8192;

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

/**
 * Documents with the question's words, by the full-text configurations of the mapping; the better one counts. Score: share of the question's words (rare ones count more) that the document has ×
 * (½ + ½ · `ts_rank_cd` with normalisation 32).
 */
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

/** Which documents have which words comes from the index alone; only the best are ranked by the places of the words. */
function bestOf(
  configuration: string,
  vectorColumn: string,
  condition: RawBuilder<unknown>,
  query: Uds3Query,
  mapping: PostgresMapping,
): RawBuilder<unknown> {
  const language = sql`${configuration}::regconfig`;
  const vector = column(vectorColumn);
  const lexeme = sql`('''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''')`;
  const satisfies = hasOperators(query.queryText) ? sql`${vector} @@ websearch_to_tsquery(${language}, ${query.queryText})` : sql`true`;
  const table = tableOf(mapping);
  return sql`select ranked.id, ranked.score from (
    with words as materialized (select unnest(tsvector_to_array(to_tsvector(${language}, ${query.queryText}))) as word),
    any_word as materialized (select string_agg(${lexeme}, ' | ')::tsquery as query from words),
    matches as materialized (
      select word, hit.id from words cross join lateral (
        select ${column(mapping.columns.id)} as id from ${table} document
        where ${vector} @@ ${lexeme}::tsquery and ${satisfies} and ${condition}
        limit ${MATCHES_PER_WORD}
      ) hit
    ),
    frequencies as (select word, count(*)::double precision as documents from matches group by word),
    total as (
      select greatest((select reltuples from pg_class where oid = ${tableName(mapping)}::regclass), (select max(documents) from frequencies), 1) as documents
    ),
    weights as (
      select word, ln(1 + coalesce(total.documents / frequencies.documents, 1)) as weight
      from words cross join total left join frequencies using (word)
    ),
    covered as (
      select matches.id, sum(weights.weight) / (select sum(weight) from weights) as coverage
      from matches join weights using (word) group by matches.id
      order by 2 desc, 1 limit ${query.perLeg * RANKED_PER_CANDIDATE}
    )
    select covered.id, covered.coverage * (0.5 + 0.5 * ts_rank_cd('{0.5, 0.6, 0.8, 1.0}', ${vector}, any_word.query, 32)) as score
    from covered cross join any_word join ${table} document on ${column(mapping.columns.id)} = covered.id
  ) ranked`;
}

function hasOperators(queryText: string): boolean {
  return /"[^"]+"|(?:^|\s)-[\p{L}\p{N}"]|\sOR\s/u.test(queryText);
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
