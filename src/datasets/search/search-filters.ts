import { type RawBuilder, sql } from "kysely";
import type { SearchQuery } from "../../types/index.js";

/** Conditions on `chunk` that hold inside every leg of a search; values are parameters only. */
export function filterCondition(filters: NonNullable<SearchQuery["filters"]>): RawBuilder<boolean> {
  const conditions: RawBuilder<unknown>[] = [
    filters.tenant === undefined ? sql`chunk.tenant is null` : sql`(chunk.tenant is null or chunk.tenant = ${filters.tenant})`,
  ];
  if (filters.documentType !== undefined) conditions.push(sql`chunk.document_type = ${filters.documentType}`);
  if (filters.domain !== undefined) conditions.push(sql`chunk.domain = ${filters.domain}`);
  if (filters.minQuality !== undefined) conditions.push(sql`chunk.quality >= ${filters.minQuality}`);
  if (filters.from !== undefined) conditions.push(sql`chunk.date >= ${new Date(filters.from)}`);
  if (filters.to !== undefined)
    conditions.push(isDay(filters.to) ? sql`chunk.date < ${dayAfter(filters.to)}` : sql`chunk.date <= ${new Date(filters.to)}`);
  return sql<boolean>`${sql.join(conditions, sql` and `)}`;
}

/** A day without a time means the whole of it (UTC). */
function isDay(value: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(value);
}

function dayAfter(day: string): Date {
  const date = new Date(day);
  date.setUTCDate(date.getUTCDate() + 1);
  return date;
}
