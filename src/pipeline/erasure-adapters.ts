import { sql } from "kysely";
import type { Executor } from "../store/store.js";

/** A cycle whose adapter or job has to do with somebody's samples. */
export interface ConcernedCycle {
  cycleId: string;
  /** Null: none was trained yet. */
  adapterId: string | null;
  jobId: string | null;
  domain: string;
  /** Its adapter learnt from them, replayed them, or goes on from one that did. False: it was only tested on them. */
  isLearnt: boolean;
  /** It runs and has one of the samples in its batch, or goes on from such an adapter. */
  isRunning: boolean;
}

/**
 * Cycles whose manifest has one of the samples, and those that were warm-started from an adapter of theirs, over any number of steps:
 * weights that go on from others hold what these had learnt.
 */
export async function concernedCycles(executor: Executor, pipeline: string, sampleIds: readonly string[]): Promise<ConcernedCycle[]> {
  if (sampleIds.length === 0) return [];
  const { rows } = await sql<ConcernedCycle>`
    with recursive manifest as (
      select c.id, bool_or(m.role <> 'test') as learnt, bool_or(m.released_at is null) as held from clara.cycles c
      join clara.cycle_samples m on m.cycle_id = c.id
      where c.pipeline = ${pipeline} and m.sample_id = any(${[...sampleIds]}::text[])
      group by c.id
    ),
    learnt as (
      select id from manifest where learnt
      union
      select child.id from learnt
      join clara.cycles parent on parent.id = learnt.id
      join clara.cycles child on child.state->>'warmStartedFrom' = parent.adapter_id
    )
    select c.id as "cycleId", c.adapter_id as "adapterId", c.job_id as "jobId", c.domain,
      exists (select 1 from learnt where learnt.id = c.id) as "isLearnt",
      c.ended_at is null and coalesce(manifest.held, true) as "isRunning"
    from clara.cycles c left join manifest on manifest.id = c.id
    where c.id in (select id from manifest union select id from learnt)
    order by c.adapter_id, c.id`.execute(executor);
  return rows;
}

/** Registered adapters that were warm-started from one of these, over any number of steps, whoever trained them. */
export async function descendantsOf(executor: Executor, adapterIds: readonly string[]): Promise<{ id: string; domain: string }[]> {
  if (adapterIds.length === 0) return [];
  const ids = sql`${[...adapterIds]}::text[]`;
  const { rows } = await sql<{ id: string; domain: string }>`
    with recursive family as (
      select unnest(${ids}) as id
      union
      select child.id from clara.adapters child join family on child.lineage->>'parentAdapterId' = family.id
    )
    select id, domain from clara.adapters where id in (select id from family) and id <> all(${ids}) order by id`.execute(executor);
  return rows;
}
