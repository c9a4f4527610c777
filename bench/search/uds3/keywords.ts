/** UDS3's keyword leg on its table, beside the statement that one would write by hand. */
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { keywordLeg } from "../../../src/uds3/keyword-leg.js";
import { resolveMapping } from "../../../src/uds3/mapping.js";
import { parseQuery } from "../../../src/uds3/search-query.js";
import { setUpPostgres } from "../../../src/uds3/setup.js";

export const CONTENDERS = { sql: "sql: ts_rank_cd, english", both: "uds3: german and english", english: "uds3: english" } as const;
export type ContenderName = keyof typeof CONTENDERS;

const PER_LEG = 50;
const byHand = `
  select document_id, left(content, 8192) as content, title, classification, domain, file_path, created_at, quality_score, metadata
  from documents cross join (select replace(plainto_tsquery('english', $1)::text, ' & ', ' | ')::tsquery as query) asked
  where search_english @@ query
  order by ts_rank_cd(search_english, query, 32) desc, document_id limit ${PER_LEG}`;

/** `ask` gives ids, best first. */
export function openKeywords(database: string) {
  const pool = new pg.Pool({ connectionString: database });
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  const both = resolveMapping().postgres;
  const english = resolveMapping({ postgres: { textSearch: { english: "search_english" } } }).postgres;
  return {
    async load(documents: readonly { id?: string; title?: string; content: string }[]): Promise<void> {
      await setUpPostgres(db, both);
      const columns = [documents.map(({ id }) => id), documents.map(({ title }) => title ?? null), documents.map(({ content }) => content)];
      await pool.query(
        "insert into documents (document_id, title, content) select * from unnest($1::text[], $2::text[], $3::text[])",
        columns,
      );
      await pool.query("vacuum analyze documents");
    },
    async ask(name: ContenderName, queryText: string): Promise<string[]> {
      if (name === "sql") {
        const { rows } = await pool.query({ name: "keywords", text: byHand, values: [queryText] });
        return rows.map(({ document_id }) => document_id as string);
      }
      const parts = { db, mapping: name === "both" ? both : english, deadlineMs: 60_000 };
      const query = parseQuery({ queryText, topK: PER_LEG / 2 }, ["keyword"]);
      return (await keywordLeg(parts, query)).map(({ documentId }) => documentId);
    },
    close: () => pool.end(),
  };
}
