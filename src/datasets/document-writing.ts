import { sql } from "kysely";
import { AbortedError } from "../errors.js";
import type { Executor } from "../store/store.js";
import type { ExtractedGraph } from "../types/index.js";
import type { ReadyDocument } from "./document-input.js";
import { deleteDocuments, insertGraphs } from "./graph/corpus-graph.js";

/** Rows per statement. */
const ROWS_PER_STATEMENT = 128;

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

/** Known texts are left out before the embedder sees them; the transaction decides finally. */
export async function leaveOutKnown(executor: Executor, documents: ReadyDocument[]): Promise<ReadyDocument[]> {
  const hashes = new Set<string>();
  const distinct = documents.filter(({ contentHash }) => !hashes.has(contentHash) && hashes.add(contentHash));
  const known = await executor
    .selectFrom("corpus_document")
    .select(["id", "content_hash"])
    .where("content_hash", "in", [...hashes])
    .execute();
  const knownHashes = new Set(known.map((row) => row.content_hash));
  return distinct.filter(({ contentHash }) => !knownHashes.has(contentHash));
}

/** Writes documents with their chunks and graphs; the caller holds the lock. */
export async function writeDocuments(
  transaction: Executor,
  documents: readonly ReadyDocument[],
  { vectors, graphs, embedderId, extractor }: ChunkFindings,
  signal?: AbortSignal,
): Promise<WrittenDocuments> {
  const taken = new Set<ReadyDocument>();
  const rows: (ReturnType<typeof chunkRow> & { graph: ExtractedGraph | undefined })[] = [];
  let added = 0;
  let index = 0;
  for (const document of documents) {
    const outcome = await insertDocument(transaction, document);
    if (outcome === "taken") taken.add(document);
    if (outcome === "added") added += 1;
    for (const position of document.chunks.keys()) {
      const found = { embedder_id: embedderId, embedding: vectors?.[index] ?? null, extractor };
      if (outcome === "added") rows.push({ ...chunkRow(document, position, found), graph: graphs?.[index] });
      index += 1;
    }
  }
  for (let start = 0; start < rows.length; start += ROWS_PER_STATEMENT) {
    if (signal?.aborted) throw new AbortedError();
    const part = rows.slice(start, start + ROWS_PER_STATEMENT);
    await transaction
      .insertInto("corpus_chunk")
      .values(part.map(({ graph: _graph, ...row }) => row))
      .execute();
    await insertGraphs(
      transaction,
      part.flatMap(({ id, graph }) => (graph ? [{ id, graph }] : [])),
    );
  }
  return { added, taken };
}

function chunkRow(
  document: ReadyDocument,
  position: number,
  found: { embedder_id: number | null; embedding: number[] | null; extractor: string | null },
) {
  const { documentType, tenant, domain, language, source, date, metadata } = document;
  const { title, content, quality } = document.chunks[position]!;
  const place = { id: `${document.id}#${position}`, document_id: document.id, position, content, quality };
  const common = { title, document_type: documentType, tenant, domain, language, source, date, metadata: JSON.stringify(metadata) };
  return { ...place, ...common, ...found };
}

/** `known` where another writer was first with the same text. */
async function insertDocument(transaction: Executor, document: ReadyDocument): Promise<"added" | "known" | "taken"> {
  const old = await transaction
    .selectFrom("corpus_document")
    .select(["content_hash", "tenant"])
    .where("id", "=", document.id)
    .executeTakeFirst();
  if (old && old.tenant !== document.tenant) return "taken";
  if (old && old.content_hash !== document.contentHash) await deleteDocuments(transaction, [document.id]);
  const inserted = await transaction
    .insertInto("corpus_document")
    .values({ id: document.id, content_hash: document.contentHash, tenant: document.tenant, chunk_count: document.chunks.length })
    .onConflict((conflict) => conflict.doNothing())
    .returning("id")
    .executeTakeFirst();
  return inserted ? "added" : "known";
}
