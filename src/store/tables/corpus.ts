import type { Migration } from "kysely/migration";

/** Tables of the corpus room; all live in the schema `clara`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by its room
export interface CorpusTables {}

/** In order; never edit one that was published, add the next. */
export const corpusMigrations: Record<string, Migration> = {};
