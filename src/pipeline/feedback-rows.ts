import { type Insertable, type RawBuilder, sql } from "kysely";
import type { FeedbackTable, SampleTable } from "../store/tables/feedback.js";
import type { Sample } from "../types/feedback.js";
import type { CanaryOutcome } from "./canary/canary-outcomes.js";

export type FeedbackRow = Insertable<FeedbackTable>;
export type SampleRow = Insertable<SampleTable>;

/** One feedback on its way into the database: its row, and the sample where it teaches something. */
export interface IntakeRecord {
  feedback: FeedbackRow;
  sample: SampleRow | null;
  /** What it says of a canary. */
  outcome?: CanaryOutcome;
  /** Read from a file that the host chose: no limit per minute. */
  isImport?: boolean;
}

/** The public form of a stored sample. */
export function toSample(row: {
  id: string;
  prompt: string;
  response: string;
  objective: string;
  rating: number;
  importance: number;
  domain: string;
  subject_id: string | null;
  source: string;
  quality_score: number;
}): Sample {
  return {
    id: row.id,
    feedbackId: row.id,
    prompt: row.prompt,
    response: row.response,
    objective: row.objective as Sample["objective"],
    rating: row.rating,
    importance: row.importance,
    domain: row.domain,
    ...(row.subject_id === null ? {} : { subjectId: row.subject_id }),
    source: row.source,
    qualityScore: row.quality_score,
  };
}

/** The sample of an accepted feedback; it has the feedback's id, so a feedback has at most one. */
export function sampleRowOf(
  feedback: Omit<FeedbackRow, "quality" | "metadata" | "findings" | "sketch">,
  lesson: { objective: string; prompt: string; answer: string; rejectedAnswer: string | null },
  qualityScore: number,
): SampleRow {
  return {
    id: feedback.id,
    pipeline: feedback.pipeline,
    domain: feedback.domain,
    prompt: lesson.prompt,
    response: lesson.answer,
    rejected_response: lesson.rejectedAnswer,
    objective: lesson.objective,
    rating: feedback.rating,
    importance: feedback.importance,
    subject_id: feedback.subject_id ?? null,
    source: feedback.source,
    quality_score: qualityScore,
    state: "waiting",
    state_reason: null,
    attempts: 0,
    cycle_id: null,
    created_at: feedback.created_at,
    state_changed_at: feedback.created_at,
  };
}

/** Columns that are not `text`; what a row holds as JSON text becomes `jsonb` on its way in. */
const COLUMN_TYPES: Readonly<Partial<Record<keyof FeedbackTable | keyof SampleTable, string>>> = {
  findings: "jsonb",
  sketch: "jsonb",
  quality: "jsonb",
  metadata: "jsonb",
  rating: "double precision",
  importance: "integer",
  quality_score: "double precision",
  attempts: "integer",
  created_at: "timestamptz",
  decided_at: "timestamptz",
  erased_at: "timestamptz",
  state_changed_at: "timestamptz",
  recalled_at: "timestamptz",
};

/** `insert into … select …` of rows, without a conflict clause. */
export function insertRows(table: "feedback" | "samples", rows: readonly (FeedbackRow | SampleRow)[]): RawBuilder<unknown> {
  const columns = [...new Set(rows.flatMap(Object.keys))] as (keyof typeof COLUMN_TYPES)[];
  const typeOf = (name: keyof typeof COLUMN_TYPES) => COLUMN_TYPES[name] ?? "text";
  const values = columns.map((name) => (typeOf(name) === "jsonb" ? `${name}::jsonb` : name));
  const received = columns.map((name) => `${name} ${typeOf(name).replace("jsonb", "text")}`);
  // one document for all rows: thousands of parameters take the client and the planner longer than the insert itself
  return sql`insert into ${sql.table(`clara.${table}`)} (${sql.raw(columns.join(", "))}) select ${sql.raw(values.join(", "))}
    from json_to_recordset(${JSON.stringify(rows)}::json) as received (${sql.raw(received.join(", "))})`;
}
