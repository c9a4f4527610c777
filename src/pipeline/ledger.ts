import { sql } from "kysely";
import type { Store } from "../store/store.js";

/** The books of a pipeline: every feedback and every sample, counted from what is stored. */
export interface Ledger {
  /** Feedback received: accepted + rejected + duplicates + review. */
  received: number;
  accepted: number;
  rejected: number;
  duplicates: number;
  review: number;
  /** Samples that more than one training set holds; 0 unless something is broken. */
  usedTwice: number;
  /** Imitable samples that wait. */
  waiting: number;
  /** In a cycle that has not ended. */
  claimed: number;
  /** In the training set of an activated adapter. */
  used: number;
  /** Thumbs down without a right answer, kept for preference training. */
  preference: number;
  /** Left out for a stated reason: by preparation, by the gate, in quarantine, or erased. */
  setAside: number;
  /** Accepted feedback without a sample, or samples that belong to no cycle though they were claimed or used; 0 unless something is broken. */
  lost: number;
}

/** Counts the books of a pipeline from the tables; nothing is remembered, so what is broken shows. */
export async function readLedger(store: Store, pipeline: string): Promise<Ledger> {
  const { rows } = await sql<Record<string, string>>`
    with statuses as (select status, count(*) as n from clara.feedback where pipeline = ${pipeline} group by status),
    states as (select state, objective, count(*) as n from clara.samples where pipeline = ${pipeline} group by state, objective),
    manifests as (
      select m.sample_id, m.cycle_id as training_set from clara.cycle_samples m
        where m.pipeline = ${pipeline} and m.role = 'learn' and m.released_at is null
      union
      select i.sample_id, c.id from clara.dataset_item i
        join clara.cycles c on c.dataset_id = i.dataset_id
        where c.pipeline = ${pipeline} and c.status in ('promoted', 'rejected')
          and not exists (select 1 from clara.cycle_samples r where r.cycle_id = c.id and r.sample_id = i.sample_id and r.released_at is not null)
    ),
    twice as (select sample_id from manifests group by sample_id having count(distinct training_set) > 1)
    select
      (select coalesce(sum(n), 0) from statuses) as received,
      (select coalesce(sum(n), 0) from statuses where status = 'accepted') as accepted,
      (select coalesce(sum(n), 0) from statuses where status = 'rejected') as rejected,
      (select coalesce(sum(n), 0) from statuses where status = 'duplicate') as duplicates,
      (select coalesce(sum(n), 0) from statuses where status = 'review') as review,
      (select count(*) from twice) as used_twice,
      (select coalesce(sum(n), 0) from states where state = 'waiting' and objective = 'imitate') as waiting,
      (select coalesce(sum(n), 0) from states where state = 'claimed') as claimed,
      (select coalesce(sum(n), 0) from states where state = 'used') as used,
      (select coalesce(sum(n), 0) from states where state = 'waiting' and objective = 'preference') as preference,
      (select coalesce(sum(n), 0) from states where state in ('excluded', 'rejected_by_gate', 'quarantined', 'erased')) as set_aside,
      (select count(*) from clara.feedback f where f.pipeline = ${pipeline} and f.status = 'accepted'
        and not exists (select 1 from clara.samples s where s.id = f.id))
      + (select count(*) from clara.samples s where s.pipeline = ${pipeline} and s.state = 'claimed' and not exists (
          select 1 from clara.cycle_samples m join clara.cycles c on c.id = m.cycle_id
          where m.sample_id = s.id and m.role = 'learn' and m.released_at is null and c.ended_at is null))
      + (select count(*) from clara.samples s where s.pipeline = ${pipeline} and s.state = 'used' and not exists (
          select 1 from clara.cycle_samples m join clara.cycles c on c.id = m.cycle_id
          where m.sample_id = s.id and m.role = 'learn' and m.released_at is null and c.status = 'promoted')) as lost
  `.execute(store.db);
  const row = rows[0] ?? {};
  const count = (name: string) => Number(row[name] ?? 0);
  return {
    received: count("received"),
    accepted: count("accepted"),
    rejected: count("rejected"),
    duplicates: count("duplicates"),
    review: count("review"),
    usedTwice: count("used_twice"),
    waiting: count("waiting"),
    claimed: count("claimed"),
    used: count("used"),
    preference: count("preference"),
    setAside: count("set_aside"),
    lost: count("lost"),
  };
}
