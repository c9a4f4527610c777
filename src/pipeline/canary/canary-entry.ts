import { sql } from "kysely";
import type { Store } from "../../store/store.js";
import type { CanaryOptions } from "./canary-options.js";

/** The incumbent's latest calls whose median says what is slow, and how few say nothing. */
const LATENCY_CALLS = 500;
const MIN_LATENCY_CALLS = 30;

/** Whether a version that passed the gate is tried on a share of the users first; the words go into the cycle's record. */
export async function chooseEntry(
  store: Store,
  domain: string,
  { start, share, limitMs, minRatings }: CanaryOptions,
  now: number,
): Promise<{ isCanary: boolean; why: string }> {
  if (start === "never") return { isCanary: false, why: "canaries are switched off" };
  if (start === "always") return { isCanary: true, why: "every version is tried first" };
  const rated = await ratedOf(store, domain, new Date(now - limitMs));
  const expected = Math.floor(rated * share);
  const why = `${rated} people or answers were rated in the last ${Math.round(limitMs / 3_600_000)} h, so that ${expected} ratings of a canary may be expected; ${minRatings} are wanted`;
  return { isCanary: expected >= minRatings, why };
}

/** From how many milliseconds a call of the domain counts as slow; null where too few are known. */
export async function slowLimit(store: Store, incumbentId: string | null, { slowFactor }: CanaryOptions): Promise<number | null> {
  const { rows } = await sql<{ calls: number; median: number | null }>`
    select count(*)::int as calls, percentile_cont(0.5) within group (order by latency_ms) as median from (
      select latency_ms from clara.generations
      where adapter_id is not distinct from ${incumbentId} and finish_reason not in ('error', 'aborted')
      order by created_at desc limit ${LATENCY_CALLS}) latest`.execute(store.db);
  const { calls, median } = rows[0]!;
  return calls < MIN_LATENCY_CALLS || median === null ? null : median * slowFactor;
}

/** Ratings that a canary would have counted: of served answers, one a person. */
async function ratedOf(store: Store, domain: string, since: Date): Promise<number> {
  const { rows } = await sql<{ rated: number }>`
    select count(distinct coalesce(subject_id, generation_id))::int as rated from clara.feedback
    where domain = ${domain} and generation_id is not null and status in ('accepted', 'duplicate') and created_at >= ${since}`.execute(
    store.db,
  );
  return rows[0]!.rated;
}
