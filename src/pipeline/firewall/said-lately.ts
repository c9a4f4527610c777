import { type RawBuilder, sql } from "kysely";

/** What somebody said, as it is stored. */
export interface SaidRow {
  id: string;
  subject_id: string | null;
  tenant: string | null;
  prompt: string;
  response: string;
  correction: string | null;
  rating: number;
  created_at: Date;
  may_be_held: boolean;
}

/**
 * What was said in a domain since a moment, and what may be in the same batch, however old; the newest. What was held counts as well: of those
 * who say that a fact has changed, each would otherwise stand alone.
 */
export function saidOf({
  pipeline,
  domain,
  since,
  limit,
}: {
  pipeline: string;
  domain: string;
  since: Date;
  limit: number;
}): RawBuilder<SaidRow> {
  const counts = sql`f.erased_at is null and f.prompt is not null and f.response is not null
    and (f.status = 'accepted' or (f.status = 'review' and f.code in ('disputed', 'cluster'))
      or (f.status = 'duplicate' and not f.findings @> '[{"action": "review"}]'))`;
  // each part goes along its index; one condition with "or" would read all of a pipeline
  return sql<SaidRow>`
    select f.id, f.subject_id, f.metadata->>'tenant' as tenant, f.prompt, f.response, f.rating, f.created_at,
      case when f.decided_at is not null and s.objective = 'imitate' then s.response else f.correction end as correction,
      coalesce(s.state = 'waiting' and s.attempts = 0 and f.decided_at is null, false) as may_be_held
    from (
      (select f.* from clara.feedback f
        where f.pipeline = ${pipeline} and f.domain = ${domain} and f.created_at > ${since} and ${counts}
        order by f.created_at desc, f.id limit ${limit})
      union all
      (select f.* from clara.samples s join clara.feedback f on f.id = s.id
        where s.pipeline = ${pipeline} and s.domain = ${domain} and s.state = 'waiting' and s.objective = 'imitate'
          and f.created_at <= ${since} and ${counts}
        order by s.created_at desc, f.id limit ${limit})) f
    left join clara.samples s on s.id = f.id
    order by f.created_at desc, f.id limit ${limit}`;
}
