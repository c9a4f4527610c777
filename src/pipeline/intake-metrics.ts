import { sql } from "kysely";
import type { Store } from "../store/store.js";

/** What feedback came to, over a span of time. */
export interface IntakeMetrics {
  /** ISO 8601. */
  since: string;
  received: number;
  accepted: number;
  /** Accepted by received, 0..1; null where nothing was received. */
  acceptanceRate: number | null;
  /** What was not accepted, by what decided: a finding's code, `quality`, `duplicate`, `unreadable`. */
  byCode: Record<string, number>;
  /** Texts from which personal data was taken out. */
  redacted: number;
  /** Doubtful ones that wait for a person, whenever they came. */
  inReview: number;
  /** Samples that were set aside after failed cycles, whenever that was. */
  quarantined: number;
  /** Distinct people behind what was accepted. */
  people: number;
}

/** Counts from the tables. */
export async function readIntakeMetrics(store: Store, pipeline: string, since: Date): Promise<IntakeMetrics> {
  const own = sql`pipeline = ${pipeline} and created_at >= ${since}`;
  const { rows } = await sql<{
    received: number;
    accepted: number;
    redacted: number;
    people: number;
    in_review: number;
    quarantined: number;
    by_code: Record<string, number>;
  }>`
    with own as (select status, code, findings, subject_id from clara.feedback where ${own}),
    codes as (select coalesce(code, status) as code, count(*)::int as count from own where status <> 'accepted' group by 1)
    select count(*)::int as received, count(*) filter (where status = 'accepted')::int as accepted,
      count(*) filter (where findings @> '[{"action": "redact"}]')::int as redacted,
      count(distinct subject_id) filter (where status = 'accepted')::int as people,
      (select count(*)::int from clara.feedback where pipeline = ${pipeline} and status = 'review' and erased_at is null) as in_review,
      (select count(*)::int from clara.samples where pipeline = ${pipeline} and state = 'quarantined') as quarantined,
      (select coalesce(jsonb_object_agg(code, count), '{}') from codes) as by_code
    from own`.execute(store.db);
  const { received, accepted, redacted, people, in_review: inReview, quarantined, by_code: byCode } = rows[0]!;
  const acceptanceRate = received === 0 ? null : accepted / received;
  return { since: since.toISOString(), received, accepted, acceptanceRate, byCode, redacted, inReview, quarantined, people };
}
