import { type RawBuilder, sql } from "kysely";
import { EngineError } from "../../errors.js";
import type { Executor } from "../../store/store.js";
import type { CallOptions, EntityExtractor, ExtractedGraph } from "../../types/index.js";
import { findEncodingFault } from "../checks/encoding.js";
import { entityNameOf } from "./entity-name.js";

/** Texts per call of the extractor. */
const TEXTS_PER_CALL = 128;

/** The graphs of texts, in order. @throws EngineError `engine_response_invalid` where the extractor's answer does not fit */
export async function extractGraphs(
  extractor: EntityExtractor,
  texts: readonly string[],
  options: CallOptions = {},
): Promise<ExtractedGraph[]> {
  const graphs: ExtractedGraph[] = [];
  for (let start = 0; start < texts.length; start += TEXTS_PER_CALL) {
    const part = texts.slice(start, start + TEXTS_PER_CALL);
    const answer = await extractor.extract(part, options);
    if (answer.length !== part.length) {
      throw new EngineError(
        "engine_response_invalid",
        `The entity extractor ${extractor.name} gave ${answer.length} answers for ${part.length} texts.`,
        { details: { extractor: extractor.name } },
      );
    }
    graphs.push(...answer);
  }
  return graphs;
}

/** Writes what chunks speak of; each chunk once. */
export async function insertGraphs(executor: Executor, chunks: readonly { id: string; graph: ExtractedGraph }[]): Promise<void> {
  const entities = new Map<string, { label: string; kind: string }>();
  const mentions = { names: [] as string[], chunkIds: [] as string[], weights: [] as number[] };
  const relations = { from: [] as string[], to: [] as string[], kinds: [] as string[], chunkIds: [] as string[] };
  for (const { id, graph } of chunks) {
    const counts = new Map<string, number>();
    const mention = (label: string, kind = "entity"): string => {
      const name = findEncodingFault(label + kind) ? "" : entityNameOf(label);
      if (name === "") return name;
      if (!entities.has(name)) entities.set(name, { label, kind });
      counts.set(name, (counts.get(name) ?? 0) + 1);
      return name;
    };
    for (const entity of graph.entities) mention(entity.name, entity.kind);
    const seen = new Set<string>();
    for (const relation of graph.relations) {
      const ends = [relation.from, relation.to].map((label) => {
        const name = entityNameOf(label);
        return counts.has(name) ? name : mention(label);
      }) as [string, string];
      const key = JSON.stringify([...ends, relation.kind]);
      if (ends[0] === "" || ends[1] === "" || ends[0] === ends[1] || seen.has(key)) continue;
      seen.add(key);
      relations.from.push(ends[0]);
      relations.to.push(ends[1]);
      relations.kinds.push(relation.kind);
      relations.chunkIds.push(id);
    }
    for (const [name, count] of counts) {
      mentions.names.push(name);
      mentions.chunkIds.push(id);
      mentions.weights.push(count > 1 ? 1 : 0.75);
    }
  }
  if (entities.size === 0) return;
  const names = [...entities.keys()];
  const labels = names.map((name) => entities.get(name)!.label);
  const kinds = names.map((name) => entities.get(name)!.kind);
  await sql`
    insert into clara.corpus_entity (name, label, kind)
    select * from unnest(${names}::text[], ${labels}::text[], ${kinds}::text[])
    on conflict (name) do nothing`.execute(executor);
  // By number from here on: a join by name would read every entity that there is, once a batch.
  const known = await sql<{ id: number; name: string }>`
    select id, name from clara.corpus_entity where name = any(${names}::text[])`.execute(executor);
  const numbers = new Map(known.rows.map(({ id, name }) => [name, id]));
  const numbersOf = (of: readonly string[]): number[] => of.map((name) => numbers.get(name)!);
  await sql`
    insert into clara.corpus_mention (entity_id, chunk_id, weight)
    select * from unnest(${numbersOf(mentions.names)}::integer[], ${mentions.chunkIds}::text[], ${mentions.weights}::real[])`.execute(
    executor,
  );
  await sql`
    insert into clara.corpus_relation (from_entity, to_entity, kind, weight, chunk_id)
    select "from", "to", kind, 1, chunk_id
    from unnest(${numbersOf(relations.from)}::integer[], ${numbersOf(relations.to)}::integer[], ${relations.kinds}::text[], ${relations.chunkIds}::text[])
      as relation ("from", "to", kind, chunk_id)`.execute(executor);
}

/** Deletes documents and the entities that only they spoke of; gives how many documents were there. */
export async function deleteDocuments(executor: Executor, ids: readonly string[]): Promise<number> {
  const isOfThem = sql<boolean>`chunk_id in (select id from clara.corpus_chunk where document_id = any(${[...ids]}::text[]))`;
  const entities = await mentionedBy(executor, isOfThem);
  const removed = await executor
    .deleteFrom("corpus_document")
    .where("id", "in", [...ids])
    .returning("id")
    .execute();
  await deleteUnmentioned(executor, entities);
  return removed.length;
}

/** Writes anew what chunks speak of; what they said before is forgotten. */
export async function replaceGraphs(executor: Executor, chunks: readonly { id: string; graph: ExtractedGraph }[]): Promise<void> {
  const isOfThem = sql<boolean>`chunk_id = any(${chunks.map(({ id }) => id)}::text[])`;
  const entities = await mentionedBy(executor, isOfThem);
  await executor.deleteFrom("corpus_relation").where(isOfThem).execute();
  await executor.deleteFrom("corpus_mention").where(isOfThem).execute();
  await insertGraphs(executor, chunks);
  await deleteUnmentioned(executor, entities);
}

async function mentionedBy(executor: Executor, condition: RawBuilder<boolean>): Promise<number[]> {
  const rows = await executor.selectFrom("corpus_mention").select("entity_id").distinct().where(condition).execute();
  return rows.map(({ entity_id }) => entity_id);
}

async function deleteUnmentioned(executor: Executor, entityIds: readonly number[]): Promise<void> {
  await sql`
    delete from clara.corpus_entity entity
    where id = any(${[...entityIds]}::integer[])
      and not exists (select 1 from clara.corpus_mention mention where mention.entity_id = entity.id)`.execute(executor);
}
