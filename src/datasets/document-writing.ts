import { sql } from "kysely";
import { AbortedError } from "../errors.js";
import type { Executor } from "../store/store.js";
import type { ExtractedGraph } from "../types/index.js";
import type { ReadyDocument } from "./document-input.js";
import { deleteDocuments, insertGraphs } from "./graph/corpus-graph.js";

/** Chunks per statement. */
const ROWS_PER_STATEMENT = 256;

/** What became of documents: the others were there already. */
export interface WrittenDocuments {
  added: number;
  /** Refused: another tenant's document has their id. */
  taken: Set<ReadyDocument>;
}

/** What was found out of each chunk of each document, in order; null where nobody looked. */
export interface ChunkFindings {
  vectors: (number[] | null)[] | null;
  graphs: ExtractedGraph[] | null;
  embedderId: number | null;
  extractor: string | null;
}

/** One writer at a time: two batches with the same texts in another order would wait for each other for ever. */
export async function lockCorpus(transaction: Executor): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('clara.corpus', 0))`.execute(transaction);
}

/** Known texts are left out before the embedder sees them, unless more is said of the document now; the transaction decides finally. */
export async function leaveOutKnown(executor: Executor, documents: readonly ReadyDocument[]): Promise<ReadyDocument[]> {
  const hashes = new Set<string>();
  const distinct = documents.filter(({ contentHash }) => !hashes.has(contentHash) && hashes.add(contentHash));
  const known = await executor
    .selectFrom("corpus_document")
    .select(["id", "content_hash", "attributes_hash"])
    .where(sql<boolean>`content_hash = any(${[...hashes]}::text[])`)
    .execute();
  const byHash = new Map(known.map((row) => [row.content_hash, row]));
  return distinct.filter((document) => {
    const same = byHash.get(document.contentHash);
    return same === undefined || (same.id === document.id && same.attributes_hash !== document.attributesHash);
  });
}

/** Writes documents of distinct ids and texts with their chunks and graphs; the caller holds the lock. */
export async function writeDocuments(
  transaction: Executor,
  documents: readonly ReadyDocument[],
  { vectors, graphs, embedderId, extractor }: ChunkFindings,
  signal?: AbortSignal,
): Promise<WrittenDocuments> {
  const { added, taken } = await insertDocuments(transaction, documents);
  const rows: ChunkRow[] = [];
  let index = 0;
  for (const document of documents) {
    for (const [position, chunk] of document.chunks.entries()) {
      const found = { embedding: vectors?.[index] ?? null, graph: graphs?.[index] };
      if (added.has(document)) rows.push({ document, position, ...chunk, ...found, id: `${document.id}#${position}` });
      index += 1;
    }
  }
  for (let start = 0; start < rows.length; start += ROWS_PER_STATEMENT) {
    if (signal?.aborted) throw new AbortedError();
    const part = rows.slice(start, start + ROWS_PER_STATEMENT);
    await insertChunks(transaction, part, { embedderId, extractor });
    await insertGraphs(
      transaction,
      part.flatMap(({ id, graph }) => (graph ? [{ id, graph }] : [])),
    );
  }
  return { added: added.size, taken };
}

interface ChunkRow {
  id: string;
  document: ReadyDocument;
  position: number;
  title: string | null;
  content: string;
  quality: number;
  embedding: number[] | null;
  graph: ExtractedGraph | undefined;
}

/** Those that were added; the others are known, as another writer was first with the same text, or taken. */
async function insertDocuments(
  transaction: Executor,
  documents: readonly ReadyDocument[],
): Promise<{ added: Set<ReadyDocument>; taken: Set<ReadyDocument> }> {
  const rows = await transaction
    .selectFrom("corpus_document")
    .select(["id", "content_hash", "attributes_hash", "tenant"])
    .where(sql<boolean>`id = any(${documents.map(({ id }) => id)}::text[])`)
    .execute();
  const old = new Map(rows.map((row) => [row.id, row]));
  const taken = new Set(documents.filter(({ id, tenant }) => old.has(id) && old.get(id)!.tenant !== tenant));
  const own = documents.filter((document) => !taken.has(document));
  const rewritten = own.filter(({ id, contentHash, attributesHash }) => {
    const known = old.get(id);
    return known !== undefined && (known.content_hash !== contentHash || known.attributes_hash !== attributesHash);
  });
  if (rewritten.length > 0)
    await deleteDocuments(
      transaction,
      rewritten.map(({ id }) => id),
    );
  const inserted = await sql<{ id: string }>`
    insert into clara.corpus_document (id, content_hash, attributes_hash, tenant, chunk_count)
    select * from unnest(${own.map(({ id }) => id)}::text[], ${own.map(({ contentHash }) => contentHash)}::text[],
      ${own.map(({ attributesHash }) => attributesHash)}::text[],
      ${own.map(({ tenant }) => tenant)}::text[], ${own.map(({ chunks }) => chunks.length)}::integer[])
    on conflict do nothing returning id`.execute(transaction);
  const ids = new Set(inserted.rows.map(({ id }) => id));
  return { added: new Set(own.filter(({ id }) => ids.has(id))), taken };
}

/** One array a column: parsed and planned in a fraction of the time that a parameter a value takes. */
async function insertChunks(
  transaction: Executor,
  rows: readonly ChunkRow[],
  { embedderId, extractor }: Pick<ChunkFindings, "embedderId" | "extractor">,
): Promise<void> {
  const column = <T>(value: (row: ChunkRow) => T): T[] => rows.map(value);
  const ofDocument = <K extends keyof ReadyDocument>(field: K): ReadyDocument[K][] => column(({ document }) => document[field]);
  await sql`
    insert into clara.corpus_chunk (id, document_id, position, content, title, document_type, tenant, domain, language, source, date, quality, metadata, embedder_id, embedding, extractor)
    select id, document_id, position, content, title, document_type, tenant, domain, language::regconfig, source, date, quality, metadata::jsonb,
      ${embedderId}::integer, embedding::real[], ${extractor}::text
    from unnest(${column(({ id }) => id)}::text[], ${ofDocument("id")}::text[], ${column(({ position }) => position)}::integer[],
      ${column(({ content }) => content)}::text[], ${column(({ title }) => title)}::text[], ${ofDocument("documentType")}::text[], ${ofDocument("tenant")}::text[],
      ${ofDocument("domain")}::text[], ${ofDocument("language")}::text[], ${ofDocument("source")}::text[], ${ofDocument("date")}::timestamptz[],
      ${column(({ quality }) => quality)}::double precision[], ${column(({ document }) => JSON.stringify(document.metadata))}::text[],
      ${column(({ embedding }) => embedding && `{${embedding.join()}}`)}::text[])
      as chunk (id, document_id, position, content, title, document_type, tenant, domain, language, source, date, quality, metadata, embedding)`.execute(
    transaction,
  );
}
