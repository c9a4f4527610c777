import type { Migration } from "kysely/migration";

/** Tables of the adapter room; all live in the schema `clara`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by its room
export interface AdapterTables {}

/** In order; never edit one that was published, add the next. */
export const adapterMigrations: Record<string, Migration> = {};
