import { type RawBuilder, sql } from "kysely";
import { vectorTypeOf } from "../embeddings.js";

/** The query's vector, and whose vectors it is compared with. */
export interface VectorLeg {
  embedderId: number;
  vector: readonly number[];
  /** True where pgvector does the comparing. */
  hasPgvector: boolean;
  /** There is an HNSW index to ask. */
  isIndexed: boolean;
}

/** The nearest chunks by cosine: id, score. */
export function vectorLeg(vector: VectorLeg, condition: RawBuilder<boolean>, perLeg: number): RawBuilder<unknown> {
  // The embedder's number stands in the text, not in a parameter, so that the planner can match the partial index.
  const own = sql`chunk.embedder_id = ${sql.lit(vector.embedderId)} and chunk.embedding is not null and ${condition}`;
  if (!vector.hasPgvector) {
    return sql`
      select chunk.id, ${cosineOf(vector)} as score from clara.corpus_chunk chunk
      where ${own} order by score desc, chunk.id limit ${perLeg}`;
  }
  const nearest = (distance: RawBuilder<unknown>) => sql`
    select chunk.id, ${distance} as distance from clara.corpus_chunk chunk where ${own} order by distance limit ${perLeg}`;
  const score = sql`greatest(0, 1 - distance) as score`;
  if (!vector.isIndexed) return sql`select id, ${score} from (${nearest(distanceOf(vector))}) exact`;
  // The scan of the index ends early where few chunks pass the filters: then all that pass are compared. Adding 0 keeps the planner from asking the index again.
  return sql`
    with indexed as materialized (${nearest(distanceOf(vector))})
    select id, ${score} from indexed where (select count(*) from indexed) >= ${perLeg}
    union all
    select id, ${score} from (${nearest(sql`(${distanceOf(vector)}) + 0`)}) exact where (select count(*) from indexed) < ${perLeg}`;
}

/** Cosine of a chunk's vector and the query's, both of unit length; null where the chunk has no vector of this embedder. */
export function cosineOf(vector: VectorLeg): RawBuilder<unknown> {
  const isOwn = sql`chunk.embedder_id = ${sql.lit(vector.embedderId)} and chunk.embedding is not null`;
  if (vector.hasPgvector) return sql`case when ${isOwn} then greatest(0, 1 - (${distanceOf(vector)})) end`;
  return sql`
    case when ${isOwn} then greatest(0, (
      select sum(pair.stored::double precision * pair.asked::double precision)
      from unnest(chunk.embedding, ${[...vector.vector]}::real[]) as pair (stored, asked)
    )) end`;
}

function distanceOf(vector: VectorLeg): RawBuilder<unknown> {
  const dimensions = vector.vector.length;
  const type = sql`${sql.raw(vectorTypeOf(dimensions).type)}(${sql.lit(dimensions)})`;
  return sql`chunk.embedding::${type} <=> ${JSON.stringify(vector.vector)}::${type}`;
}
