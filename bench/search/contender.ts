/** One contender of the search bench: asks the same queries and prints what they took. Run by bench.ts. */
import { DatasetManager } from "../../src/datasets/index.js";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import { openStore } from "../../src/store/index.js";
import type { SearchType } from "../../src/types/index.js";
import { median } from "../statistics.ts";
import { queries } from "./corpus.ts";

const WARM_UP = 20;
const QUERIES = 100;
/** Queries whose nearest texts are compared with those of an exact search. */
const EXACT = 10;
const TOP = 10;
const PER_LEG = 50;

const [name, place] = process.argv.slice(2) as [string, string];
const store = await openStore({ database: place.startsWith("postgres") ? place : { dataDir: place } });
const embedder = new LexicalEmbedder();
const datasets = new DatasetManager({ store, embedder });
const { rows: embedders } = await store.pool.query("select id from clara.corpus_embedder");
const embedderId = Number(embedders[0].id);

const own = `chunk.embedder_id = ${embedderId} and chunk.embedding is not null`;
const distance = "chunk.embedding::vector(512) <=> $1::vector(512)";
const statement = `
  with nearest as (
    select chunk.id, 1 - (${distance}) as score from clara.corpus_chunk chunk where ${own} order by ${distance} limit ${PER_LEG}
  ), matching as (
    select chunk.id, ts_rank_cd(chunk.search, query, 32) as score
    from clara.corpus_chunk chunk, to_tsquery('english', $2) query
    where chunk.search @@ query order by score desc limit ${PER_LEG}
  )
  select chunk.id, chunk.content, chunk.metadata, coalesce(nearest.score, 0) * 0.7 + coalesce(matching.score, 0) * 0.3 as score
  from nearest full join matching using (id) join clara.corpus_chunk chunk using (id)
  order by score desc limit ${TOP}`;

async function vectorOf(text: string): Promise<string> {
  const [vector] = await embedder.embed([text]);
  return JSON.stringify(vector);
}

async function bySql(queryText: string): Promise<unknown> {
  const words = queryText.match(/\p{L}+/gu) ?? [];
  return store.pool.query({ name: "hybrid", text: statement, values: [await vectorOf(queryText), words.join(" | ")] });
}

const legs: Record<string, SearchType[]> = {
  "clara: vector, keyword": ["vector", "keyword"],
  "clara: all legs": ["vector", "graph", "keyword"],
};
const ask =
  name === "sql" ? bySql : (queryText: string) => datasets.search({ queryText, topK: TOP, searchTypes: legs[name] as SearchType[] });

async function nearestOf(queryText: string): Promise<string[]> {
  if (name !== "sql") return (await datasets.search({ queryText, topK: TOP, searchTypes: ["vector"] })).map(({ id }) => id);
  const text = `select chunk.id from clara.corpus_chunk chunk where ${own} order by ${distance} limit ${TOP}`;
  return (await store.pool.query(text, [await vectorOf(queryText)])).rows.map(({ id }) => id as string);
}

async function recall(queryText: string): Promise<number> {
  const text = `select chunk.id from clara.corpus_chunk chunk where ${own} order by (${distance}) + 0 limit ${TOP}`;
  const exact = new Set((await store.pool.query(text, [await vectorOf(queryText)])).rows.map(({ id }) => id as string));
  return (await nearestOf(queryText)).filter((id) => exact.has(id)).length;
}

try {
  // Asked one after the other, all queries of the pool take the same connection.
  await store.pool.query("select set_config('hnsw.ef_search', '200', false)");
  const all = queries(WARM_UP + QUERIES);
  for (const queryText of all.slice(0, WARM_UP)) await ask(queryText);
  const latencies: number[] = [];
  for (const queryText of all.slice(WARM_UP)) {
    const started = performance.now();
    await ask(queryText);
    latencies.push(performance.now() - started);
  }
  const recalls: number[] = [];
  for (const queryText of all.slice(0, EXACT)) recalls.push(await recall(queryText));
  latencies.sort((a, b) => a - b);
  process.stdout.write(
    `${JSON.stringify({
      p95Ms: latencies[Math.ceil(latencies.length * 0.95) - 1],
      p50Ms: median(latencies),
      recall: recalls.reduce((sum, value) => sum + value, 0) / recalls.length,
    })}\n`,
  );
} finally {
  await store.close();
}
