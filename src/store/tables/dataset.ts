import type { Migration } from "kysely/migration";

/** Tables of the dataset room; all live in the schema `clara`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by its room
export interface DatasetTables {}

/** In order; never edit one that was published, add the next. */
export const datasetMigrations: Record<string, Migration> = {};
