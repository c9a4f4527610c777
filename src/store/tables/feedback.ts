import type { Migration } from "kysely/migration";

/** Tables of the feedback room; all live in the schema `clara`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by its room
export interface FeedbackTables {}

/** In order; never edit one that was published, add the next. */
export const feedbackMigrations: Record<string, Migration> = {};
