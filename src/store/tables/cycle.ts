import type { Migration } from "kysely/migration";

/** Tables of the cycle room; all live in the schema `clara`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by its room
export interface CycleTables {}

/** In order; never edit one that was published, add the next. */
export const cycleMigrations: Record<string, Migration> = {};
