import { sql } from "kysely";
import { AbortedError, EngineError } from "../errors.js";
import type { Executor } from "../store/store.js";
import { inTransaction } from "../store/transaction.js";
import type { CallOptions, Embedder } from "../types/index.js";

/** What the graph of the index holds of a vector besides its numbers. */
const GRAPH_BYTES = 600;
/** What is smaller has no place in a `real`, and PostgreSQL refuses it. */
const SMALLEST_REAL = 1.2e-38;
const LEAST_BUILD_MEGABYTES = 64;
const MOST_BUILD_MEGABYTES = 1024;

/** Embeds texts and brings the vectors to unit length; null for a text without direction (all zeros). */
export async function embedUnit(embedder: Embedder, texts: readonly string[], options: CallOptions = {}): Promise<(number[] | null)[]> {
  if (texts.length === 0) return [];
  const vectors: readonly ArrayLike<number>[] | null | undefined = await unlessAborted(embedder.embed(texts, options), options.signal);
  const dimensions = vectors?.[0]?.length ?? 0;
  const lengths = vectors?.length === texts.length ? vectors.map((vector) => lengthOf(vector, dimensions)) : [];
  if (vectors == null || dimensions === 0 || !lengths.every(Number.isFinite) || lengths.length !== texts.length) {
    const message = `The embedder ${embedder.name} gave ${vectors?.length ?? "no"} vectors of ${dimensions} numbers for ${texts.length} texts, or numbers that are not finite.`;
    throw new EngineError("engine_response_invalid", message, { details: { embedder: embedder.name } });
  }
  return vectors.map((vector, index) => {
    const length = lengths[index]!;
    return length > 0 ? Array.from(vector, (value) => (Math.abs(value) < length * SMALLEST_REAL ? 0 : value / length)) : null;
  });
}

/** Not a number where it is no vector of so many numbers. */
function lengthOf(vector: ArrayLike<number> | null | undefined, dimensions: number): number {
  if (vector?.length !== dimensions) return Number.NaN;
  const numbers = Array.from(vector);
  return numbers.every((value) => Number.isFinite(value)) ? Math.hypot(...numbers) : Number.NaN;
}

/** The host's embedder may not listen to the signal, and must not hold the caller up. */
async function unlessAborted<T>(work: Promise<T> | T, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(new AbortedError(undefined, { cause: signal.reason }));
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** The number under which an embedder's vectors are stored; made where it is new. */
export async function embedderIdOf(executor: Executor, name: string, dimensions: number): Promise<number> {
  await executor
    .insertInto("corpus_embedder")
    .values({ name, dimensions })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const row = await executor
    .selectFrom("corpus_embedder")
    .select("id")
    .where("name", "=", name)
    .where("dimensions", "=", dimensions)
    .executeTakeFirstOrThrow();
  return row.id;
}

/** pgvector's indexes reach up to 2,000 dimensions as `vector` and 4,000 as `halfvec`. */
export function vectorTypeOf(dimensions: number): { type: "vector" | "halfvec"; canBeIndexed: boolean } {
  return dimensions <= 2000 ? { type: "vector", canBeIndexed: true } : { type: "halfvec", canBeIndexed: dimensions <= 4000 };
}

/** Name of the index over the vectors of one embedder; with an empty number, what all such names begin with. */
export function vectorIndexName(embedderId: number | ""): string {
  return `corpus_chunk_embedding_${embedderId}`;
}

/**
 * Builds the HNSW index over one embedder's vectors where there is none yet (some seconds for 10,000 chunks). The build has as much memory as its graph needs, 1 GiB
 * at most: a graph that outgrows its memory is built on disk from there on, many times slower.
 */
export async function buildVectorIndex(executor: Executor, embedderId: number, dimensions: number, chunks: number): Promise<void> {
  const { type, canBeIndexed } = vectorTypeOf(dimensions);
  if (!canBeIndexed) return;
  const bytes = chunks * (dimensions * (type === "vector" ? 4 : 2) + GRAPH_BYTES);
  const megabytes = Math.min(MOST_BUILD_MEGABYTES, Math.max(LEAST_BUILD_MEGABYTES, Math.ceil((bytes * 1.2) / 2 ** 20)));
  await inTransaction(executor, async (transaction) => {
    await sql`select set_config('maintenance_work_mem', ${`${megabytes}MB`}, true)`.execute(transaction);
    await sql`
      create index if not exists ${sql.ref(vectorIndexName(embedderId))} on clara.corpus_chunk
      using hnsw ((embedding::${sql.raw(type)}(${sql.lit(dimensions)})) ${sql.raw(`${type}_cosine_ops`)})
      where embedder_id = ${sql.lit(embedderId)}`.execute(transaction);
  });
}
