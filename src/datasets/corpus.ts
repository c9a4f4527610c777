import { hash } from "node:crypto";
import { sql } from "kysely";
import { AbortedError, ConfigurationError } from "../errors.js";
import type { Executor, Store } from "../store/store.js";
import type { AddDocumentsResult, CallOptions, DocumentInput, Embedder, EntityExtractor } from "../types/index.js";
import { type ReadyDocument, readDocument } from "./document-input.js";
import { leaveOutKnown, lockCorpus, type WrittenDocuments, writeDocuments } from "./document-writing.js";
import { buildVectorIndex, embedderIdOf, embedUnit } from "./embeddings.js";
import { deleteDocuments, extractGraphs, replaceGraphs } from "./graph/corpus-graph.js";
import type { QualityChecker } from "./quality-checker.js";
import { buildTrigramIndex } from "./search/compound-words.js";

/** Documents that are embedded and written together. */
const DOCUMENTS_PER_BATCH = 64;
/** Texts per call of the embedder, and rows per statement. */
const CHUNKS_PER_CALL = 128;
/** From this many chunks on, exact search gives way to an index. */
const INDEX_FROM_CHUNKS = 4_000;

/** From this many new documents on, the planner and the word index are told. */
const TIDY_FROM_DOCUMENTS = 500;

const ID_TAKEN = "id_taken: a document of another tenant has this id. Choose another one";

/** How far `addDocuments`, `reembed` or `reextract` is. */
export interface CorpusProgress {
  /** Documents (or chunks, for `reembed` and `reextract`) seen so far. */
  received: number;
  /** Chunks that were to be done at the start; only of `reembed` and `reextract`. */
  total?: number;
  added: number;
  skipped: number;
  rejected: number;
}

/** Options of `addDocuments`, `reembed` and `reextract`. */
export interface CorpusOptions extends CallOptions {
  onProgress?: (progress: CorpusProgress) => void;
}

/** What a corpus holds. */
export interface CorpusStatistics {
  documents: number;
  chunks: number;
  /** Chunks by the embedder of their vectors; the empty name counts those without a vector. */
  chunksByEmbedder: Record<string, number>;
  /** Chunks by what found their entities; the empty name counts those that nobody looked through. */
  chunksByExtractor: Record<string, number>;
}

/** Texts in the store: cut into chunks, embedded, found again by the hash of their content. */
export class Corpus {
  readonly #store: Store;
  readonly #embedder: Embedder | undefined;
  readonly #extractor: EntityExtractor | undefined;
  readonly #quality: QualityChecker;
  readonly #indexFromChunks: number;

  constructor(parts: {
    store: Store;
    embedder?: Embedder;
    extractor?: EntityExtractor;
    quality: QualityChecker;
    indexFromChunks?: number;
  }) {
    this.#store = parts.store;
    this.#embedder = parts.embedder;
    this.#extractor = parts.extractor;
    this.#quality = parts.quality;
    this.#indexFromChunks = parts.indexFromChunks ?? INDEX_FROM_CHUNKS;
  }

  /**
   * Adds documents batch by batch; each batch is one transaction, so an abort or a failing embedder keeps the batches before it. A document whose id is there with another text, or with
   * other metadata, replaces it; one whose text is there in the same domain is skipped.
   */
  async addDocuments(
    documents: AsyncIterable<DocumentInput> | Iterable<DocumentInput>,
    options: CorpusOptions = {},
  ): Promise<AddDocumentsResult> {
    const result: AddDocumentsResult = { added: 0, skipped: 0, rejected: [] };
    let received = 0;
    let batch = new Map<string, { document: ReadyDocument; index: number }>();
    const flush = async (): Promise<void> => {
      if (batch.size > 0) {
        const documents = [...batch.values()];
        const { added, taken } = await this.#write(
          documents.map(({ document }) => document),
          options.signal,
        );
        result.added += added;
        result.skipped += batch.size - added - taken.size;
        for (const { document, index } of documents) if (taken.has(document)) result.rejected.push({ index, reason: ID_TAKEN });
        batch = new Map();
      }
      options.onProgress?.({ received, added: result.added, skipped: result.skipped, rejected: result.rejected.length });
    };
    for await (const document of documents) {
      if (options.signal?.aborted) throw new AbortedError();
      const ready = await readDocument(document, this.#quality, options.signal);
      if ("reason" in ready) result.rejected.push({ index: received, reason: ready.reason });
      else {
        // A later version of a document in the same batch has to find the earlier one in the table.
        if (batch.has(ready.id)) await flush();
        batch.set(ready.id, { document: ready, index: received });
      }
      received += 1;
      if (batch.size === DOCUMENTS_PER_BATCH) await flush();
    }
    await flush();
    result.rejected.sort((left, right) => left.index - right.index);
    if (result.added > 0) await this.#buildIndexes();
    if (result.added >= TIDY_FROM_DOCUMENTS) await tidyUp(this.#store.db);
    return result;
  }

  /** Takes documents and their chunks away; gives how many were there. */
  async removeDocuments(ids: readonly string[], { signal }: CallOptions = {}): Promise<number> {
    if (signal?.aborted) throw new AbortedError();
    if (ids.length === 0) return 0;
    return this.#store.db.transaction().execute(async (transaction) => {
      await lockCorpus(transaction);
      return deleteDocuments(transaction, ids);
    });
  }

  /** Embeds every chunk that has no vector of the present embedder, after a change of it, 128 at a time; interrupted, the next call goes on where it was. @throws ConfigurationError without an embedder */
  async reembed(options: CorpusOptions = {}): Promise<{ embedded: number }> {
    const embedder = this.#embedder;
    if (!embedder) throw new ConfigurationError("config_invalid", "There is no embedder to embed with. Give the DatasetManager one.");
    const [probe] = await embedUnit(embedder, ["dimension"], { signal: options.signal });
    const dimensions = probe?.length ?? embedder.dimensions;
    const embedderId = await embedderIdOf(this.#store.db, embedder.name, dimensions);
    const stale = await this.#store.db
      .selectFrom("corpus_chunk")
      .select((row) => row.fn.countAll<string>().as("count"))
      .where((where) => where.or([where("embedder_id", "is", null), where("embedder_id", "!=", embedderId)]))
      .executeTakeFirstOrThrow();
    const total = Number(stale.count);
    let embedded = 0;
    for (;;) {
      if (options.signal?.aborted) throw new AbortedError();
      const chunks = await this.#store.db
        .selectFrom("corpus_chunk")
        .select(["id", "title", "content"])
        .where((where) => where.or([where("embedder_id", "is", null), where("embedder_id", "!=", embedderId)]))
        .orderBy("id")
        .limit(CHUNKS_PER_CALL)
        .execute();
      if (chunks.length === 0) break;
      const vectors = await embedUnit(embedder, chunks.map(textToEmbed), { signal: options.signal });
      await this.#store.db.transaction().execute(async (transaction) => {
        for (const [index, chunk] of chunks.entries()) {
          const set = { embedder_id: embedderId, embedding: vectors[index] ?? null };
          await transaction.updateTable("corpus_chunk").set(set).where("id", "=", chunk.id).execute();
        }
      });
      embedded += chunks.length;
      options.onProgress?.({ received: embedded, total, added: embedded, skipped: 0, rejected: 0 });
    }
    await this.#indexIfLarge();
    return { embedded };
  }

  /** Finds anew the entities and relations of every chunk that another extractor, or none, has looked through; interrupted, the next call does the rest. @throws ConfigurationError without an extractor */
  async reextract(options: CorpusOptions = {}): Promise<{ extracted: number }> {
    const extractor = this.#extractor;
    if (!extractor)
      throw new ConfigurationError("config_invalid", "There is no entity extractor to look with: the DatasetManager was given null.");
    const { db } = this.#store;
    const isStale = sql<boolean>`extractor is distinct from ${extractor.name}`;
    const stale = await db
      .selectFrom("corpus_chunk")
      .select((row) => row.fn.countAll<string>().as("count"))
      .where(isStale)
      .executeTakeFirstOrThrow();
    let extracted = 0;
    for (let after = ""; ; ) {
      if (options.signal?.aborted) throw new AbortedError();
      const chunks = await db
        .selectFrom("corpus_chunk")
        .select(["id", "title", "content"])
        .where(isStale)
        .where("id", ">", after)
        .orderBy("id")
        .limit(CHUNKS_PER_CALL)
        .execute();
      const last = chunks.at(-1);
      if (last === undefined) break;
      after = last.id;
      const graphs = await extractGraphs(extractor, chunks.map(textToEmbed), { signal: options.signal });
      await db.transaction().execute(async (transaction) => {
        await lockCorpus(transaction);
        // What was replaced or removed meanwhile is another text, which its writer looked through.
        const marked = await transaction
          .updateTable("corpus_chunk")
          .set({ extractor: extractor.name })
          .where(isStale)
          .where(
            sql<boolean>`(id, encode(sha256(convert_to(content, 'UTF8')), 'hex')) in (select * from unnest(
              ${chunks.map(({ id }) => id)}::text[], ${chunks.map(({ content }) => hash("sha256", content, "hex"))}::text[]))`,
          )
          .returning("id")
          .execute();
        const present = new Set(marked.map(({ id }) => id));
        await replaceGraphs(
          transaction,
          chunks.flatMap(({ id }, index) => (present.has(id) ? [{ id, graph: graphs[index]! }] : [])),
        );
        extracted += present.size;
      });
      options.onProgress?.({ received: extracted, total: Number(stale.count), added: extracted, skipped: 0, rejected: 0 });
    }
    if (extracted >= TIDY_FROM_DOCUMENTS) await tidyUp(db);
    return { extracted };
  }

  /** Counts what is there. */
  async statistics({ signal }: CallOptions = {}): Promise<CorpusStatistics> {
    if (signal?.aborted) throw new AbortedError();
    const { db } = this.#store;
    const documents = await db
      .selectFrom("corpus_document")
      .select((row) => row.fn.countAll<string>().as("count"))
      .executeTakeFirstOrThrow();
    const chunks = await db
      .selectFrom("corpus_chunk")
      .leftJoin("corpus_embedder", "corpus_embedder.id", "corpus_chunk.embedder_id")
      .select((row) => ["corpus_embedder.name", row.fn.countAll<string>().as("count")])
      .groupBy("corpus_embedder.name")
      .execute();
    const extracted = await db
      .selectFrom("corpus_chunk")
      .select((row) => ["extractor as name", row.fn.countAll<string>().as("count")])
      .groupBy("extractor")
      .execute();
    const byName = (rows: readonly { name: string | null; count: string }[]) =>
      Object.fromEntries(rows.map(({ name, count }) => [name ?? "", Number(count)]));
    return {
      documents: Number(documents.count),
      chunks: chunks.reduce((sum, row) => sum + Number(row.count), 0),
      chunksByEmbedder: byName(chunks),
      chunksByExtractor: byName(extracted),
    };
  }

  async #write(documents: ReadyDocument[], signal?: AbortSignal): Promise<WrittenDocuments> {
    const fresh = await leaveOutKnown(this.#store.db, documents);
    if (fresh.length === 0) return { added: 0, taken: new Set() };
    const texts = fresh.flatMap(({ chunks }) => chunks.map(textToEmbed));
    const vectors = await this.#embed(texts, signal);
    const graphs = this.#extractor ? await extractGraphs(this.#extractor, texts, { signal }) : null;
    return this.#store.db.transaction().execute(async (transaction) => {
      await lockCorpus(transaction);
      const dimensions = vectors?.find((vector) => vector !== null)?.length;
      const embedderId = this.#embedder && dimensions ? await embedderIdOf(transaction, this.#embedder.name, dimensions) : null;
      return writeDocuments(transaction, fresh, { vectors, graphs, embedderId, extractor: this.#extractor?.name ?? null }, signal);
    });
  }

  async #embed(texts: readonly string[], signal?: AbortSignal): Promise<(number[] | null)[] | null> {
    if (!this.#embedder) return null;
    const vectors: (number[] | null)[] = [];
    for (let start = 0; start < texts.length; start += CHUNKS_PER_CALL) {
      vectors.push(...(await embedUnit(this.#embedder, texts.slice(start, start + CHUNKS_PER_CALL), { signal })));
    }
    return vectors;
  }

  async #buildIndexes(): Promise<void> {
    const { db, capabilities } = this.#store;
    if (capabilities.trigram) {
      await db.transaction().execute(async (transaction) => {
        await lockCorpus(transaction);
        await buildTrigramIndex(transaction);
      });
    }
    await this.#indexIfLarge();
  }

  async #indexIfLarge(): Promise<void> {
    const { db, capabilities } = this.#store;
    if (!this.#embedder || !capabilities.vector) return;
    const rows = await db
      .selectFrom("corpus_chunk")
      .innerJoin("corpus_embedder", "corpus_embedder.id", "corpus_chunk.embedder_id")
      .select((row) => ["corpus_embedder.id", "corpus_embedder.dimensions", row.fn.countAll<string>().as("count")])
      .where("corpus_embedder.name", "=", this.#embedder.name)
      .groupBy(["corpus_embedder.id", "corpus_embedder.dimensions"])
      .execute();
    for (const { id, dimensions, count } of rows)
      if (Number(count) >= this.#indexFromChunks) await buildVectorIndex(db, id, dimensions, Number(count));
  }
}

/** What a server does by itself after a while and PGlite never does: fresh statistics, and new words moved into the index proper. */
async function tidyUp(executor: Executor): Promise<void> {
  await sql`analyze clara.corpus_chunk, clara.corpus_entity, clara.corpus_mention, clara.corpus_relation`.execute(executor);
  await sql`
    select gin_clean_pending_list(index.oid) from pg_index join pg_class index on index.oid = indexrelid join pg_am on pg_am.oid = index.relam
    where indrelid = 'clara.corpus_chunk'::regclass and amname = 'gin'`.execute(executor);
}

/** The title tells what a chunk in the middle of a document is about. */
function textToEmbed(chunk: { title: string | null; content: string }): string {
  return chunk.title ? `${chunk.title}\n${chunk.content}` : chunk.content;
}
