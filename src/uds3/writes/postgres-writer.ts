import { type Kysely, type RawBuilder, sql } from "kysely";
import { tableOf } from "../keyword-leg.js";
import type { ResolvedMapping } from "../mapping.js";
import type { DocumentRecord } from "./document-record.js";

/** Writes whole rows, new or known; other columns of known rows stay as they are. */
export async function writeToPostgres(
  db: Kysely<unknown>,
  mapping: ResolvedMapping["postgres"],
  documents: readonly DocumentRecord[],
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    for (const document of documents) await upsertStatement(mapping, document).execute(transaction);
  });
}

export async function removeFromPostgres(db: Kysely<unknown>, mapping: ResolvedMapping["postgres"], ids: readonly string[]): Promise<void> {
  await sql`delete from ${tableOf(mapping)} where ${sql.id(mapping.columns.id)}::text = any(${[...ids]}::text[])`.execute(db);
}

function upsertStatement(mapping: ResolvedMapping["postgres"], document: DocumentRecord): RawBuilder<unknown> {
  const { columns } = mapping;
  const own: [name: string | null, value: unknown][] = [
    [columns.content, document.content],
    [columns.title, document.title],
    [columns.documentType, document.documentType],
    [columns.domain, document.domain],
    [columns.source, document.source],
    [columns.language, document.language],
    [columns.date, document.date],
    [columns.quality, document.quality],
    [columns.metadata, JSON.stringify(document.metadata)],
    [columns.contentLength, document.content.length],
  ];
  const values = own.filter((pair): pair is [string, unknown] => pair[0] !== null);
  const inserted: [string, unknown][] = [[columns.id, document.id], ...values, ...Object.entries(mapping.fixedValues)];
  return sql`
    insert into ${tableOf(mapping)} (${sql.join(inserted.map(([name]) => sql.id(name)))})
    values (${sql.join(inserted.map(([, value]) => sql`${value}`))})
    on conflict (${sql.id(columns.id)}) do update set ${sql.join(values.map(([name]) => sql`${sql.id(name)} = excluded.${sql.id(name)}`))}`;
}
