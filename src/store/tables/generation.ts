import type { Migration } from "kysely/migration";

/** Tables of the generation room; all live in the schema `clara`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by its room
export interface GenerationTables {}

/** In order; never edit one that was published, add the next. */
export const generationMigrations: Record<string, Migration> = {};
