import type { Migration } from "kysely/migration";

/** Tables of the training room; all live in the schema `clara`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by its room
export interface TrainingTables {}

/** In order; never edit one that was published, add the next. */
export const trainingMigrations: Record<string, Migration> = {};
