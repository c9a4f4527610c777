import { sql } from "kysely";
import type { Executor } from "../../store/store.js";
import { vectorIndexName } from "../embeddings.js";

/** What the corpus has for a search. */
export interface SearchState {
  /** Number of the embedder; null where nothing was embedded by it, or none was asked for. */
  embedderId: number | null;
  /** Some chunk has no vector of this embedder. */
  isForeign: boolean;
  /** Name of the embedder of such a chunk; null where it has no vector. */
  stored: string | null;
  /** There is an index over the vectors of this embedder. */
  isIndexed: boolean;
  /** Some chunk speaks of an entity. */
  hasEntities: boolean;
}

/** Asks all of it in one statement. */
export async function readSearchState(executor: Executor, embedder: { name: string; dimensions: number } | null): Promise<SearchState> {
  const { rows } = await sql<{ id: number | null; is_foreign: boolean; stored: string | null; is_indexed: boolean; has_entities: boolean }>`
    with own as (select id from clara.corpus_embedder where name = ${embedder?.name ?? null} and dimensions = ${embedder?.dimensions ?? null}),
    foreign_chunk as (
      select embedder_id from clara.corpus_chunk
      where embedder_id is null or embedder_id > coalesce((select id from own), 0) or embedder_id < coalesce((select id from own), 0)
      limit 1
    )
    select (select id from own) as id, exists (select 1 from foreign_chunk) as is_foreign,
      (select embedder.name from foreign_chunk join clara.corpus_embedder embedder on embedder.id = foreign_chunk.embedder_id) as stored,
      to_regclass('clara.' || ${vectorIndexName("")} || (select id from own)) is not null as is_indexed,
      exists (select 1 from clara.corpus_mention) as has_entities`.execute(executor);
  const row = rows[0]!;
  return {
    embedderId: row.id,
    isForeign: row.is_foreign,
    stored: row.stored,
    isIndexed: row.is_indexed,
    hasEntities: row.has_entities,
  };
}
