import type { DatasetItem } from "../../types/index.js";

/** One line of an export: a row of the dataset, flat. */
export interface ExportRow {
  id: string;
  prompt: string;
  response: string;
  split: DatasetItem["split"];
  group: string;
  objective: DatasetItem["sample"]["objective"];
  rating: number;
  importance: number;
  domain: string;
  source: string;
  qualityScore: number;
  feedbackId?: string;
  /** Only where the export was asked to name people. */
  subjectId?: string;
}

/** The columns of an export in their order. */
export const EXPORT_COLUMNS = [
  "id",
  "prompt",
  "response",
  "split",
  "group",
  "objective",
  "rating",
  "importance",
  "domain",
  "source",
  "qualityScore",
  "feedbackId",
  "subjectId",
] as const satisfies readonly (keyof ExportRow)[];

/** Rows that are turned into text at once. */
export const TEXT_GROUPS = { rows: 200, size: 1024 * 1024, sizeOf: (row: ExportRow) => row.prompt.length + row.response.length };

/** A dataset's row as a line of an export. A file leaves the reach of erasure, so people are named only when asked for. */
export function toExportRow(item: DatasetItem, includeSubjects: boolean): ExportRow {
  const { sample, split, group } = item;
  const { id, prompt, response, objective, rating, importance, domain, source, qualityScore, feedbackId, subjectId } = sample;
  return {
    id,
    prompt,
    response,
    split,
    group,
    objective,
    rating,
    importance,
    domain,
    source,
    qualityScore,
    ...(feedbackId === undefined ? {} : { feedbackId }),
    ...(includeSubjects && subjectId !== undefined ? { subjectId } : {}),
  };
}
