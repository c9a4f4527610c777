import { type RawBuilder, sql } from "kysely";

/** Entities of the query that the search starts from, the rarest ones. */
const MOST_SEEDS = 16;
/** Rows of mentions or relations that one entity brings in at most; beyond, it tells nothing. */
const ROWS_PER_ENTITY = 1_000;
/** Related entities that each entity leads to. */
const FAN_OUT = 8;
const MOST_REACHED = 200;
/** What remains of an entity's strength after a hop over a relation that is as strong as can be. */
const DECAY = 0.5;

/** What the graph leg starts from. */
export interface GraphLeg {
  /** Normalised names that may be entities. */
  names: readonly string[];
  hops: number;
}

/**
 * Steps of the statement for the graph leg; the last one, `graph_leg`, gives id, score 0..1 and reasons.
 * Each entity of the query has a share of 1 (rare ones more: ln(1 + chunks / chunks that mention it)). It hands its share to the chunks that mention it,
 * and over relations, each hop × ½ × n / (n + 1) for a relation that n chunks state, to those that mention a related entity; a chunk gets the most that each one offers it.
 * Relations count only where the filters allow the chunk that states them: a path tells nothing of what may not be seen.
 */
export function graphSteps(graph: GraphLeg, condition: RawBuilder<boolean>, perLeg: number): RawBuilder<unknown> {
  const allowedRelations = (near: RawBuilder<unknown>, far: RawBuilder<unknown>) => sql`
    (select ${far} as entity, relation.weight from clara.corpus_relation relation
     join clara.corpus_chunk chunk on chunk.id = relation.chunk_id
     where ${near} = walk.entity and ${condition} limit ${ROWS_PER_ENTITY})`;
  const [from, to] = [sql`relation.from_entity`, sql`relation.to_entity`];
  return sql`
    graph_seed as materialized (
      select entity.id, entity.label, ln(1 + total.chunks / mentioned.chunks::double precision) as weight
      from clara.corpus_entity entity
      cross join (select greatest(count(*), ${ROWS_PER_ENTITY}) as chunks from clara.corpus_document) total
      cross join lateral (
        select count(*) as chunks from (
          select 1 from clara.corpus_mention mention join clara.corpus_chunk chunk on chunk.id = mention.chunk_id
          where mention.entity_id = entity.id and ${condition} limit ${ROWS_PER_ENTITY}
        ) visible
      ) mentioned
      where entity.name = any(${[...graph.names]}::text[]) and mentioned.chunks > 0
      order by weight desc, entity.id
      limit ${MOST_SEEDS}
    ),
    graph_walk as (
      select id as seed, id as entity, 1::double precision as strength, 0 as depth, array[label] as path, array[id] as visited from graph_seed
      union all
      select walk.seed, next.entity, walk.strength * ${DECAY}::double precision * next.share, walk.depth + 1, walk.path || next.label, walk.visited || next.entity
      from graph_walk walk
      cross join lateral (
        select neighbour.entity, neighbour.share, entity.label
        from (
          select entity, sum(weight) / (sum(weight) + 1) as share
          from (${allowedRelations(from, to)} union all ${allowedRelations(to, from)}) both_ways
          where entity <> all(walk.visited)
          group by entity order by share desc, entity limit ${FAN_OUT}
        ) neighbour
        join clara.corpus_entity entity on entity.id = neighbour.entity
      ) next
      where walk.depth < ${graph.hops}
    ),
    graph_reached as materialized (
      select seed, entity, strength, path from (
        select distinct on (seed, entity) seed, entity, strength, path from graph_walk order by seed, entity, strength desc, path
      ) best
      order by strength desc, seed, entity
      limit ${MOST_REACHED}
    ),
    graph_offer as (
      select distinct on (reached.seed, mention.chunk_id) mention.chunk_id as id, reached.path,
        reached.strength * mention.weight * seed.weight / (select sum(weight) from graph_seed) as score
      from graph_reached reached
      join graph_seed seed on seed.id = reached.seed
      cross join lateral (
        select mention.chunk_id, mention.weight from clara.corpus_mention mention join clara.corpus_chunk chunk on chunk.id = mention.chunk_id
        where mention.entity_id = reached.entity and ${condition} limit ${ROWS_PER_ENTITY}
      ) mention
      order by reached.seed, mention.chunk_id, score desc, reached.path
    ),
    graph_leg as materialized (
      select id, sum(score) as score, (array_agg(array_to_string(path, ' → ') order by score desc, path))[1:3] as reasons
      from graph_offer group by id order by score desc, id limit ${perLeg}
    )`;
}
