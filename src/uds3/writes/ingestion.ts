import { readDocument } from "../../datasets/document-input.js";
import type { CorpusOptions } from "../../datasets/index.js";
import { QualityChecker } from "../../datasets/index.js";
import { AbortedError, type ClaraError } from "../../errors.js";
import type { AddDocumentsResult, CallOptions, DocumentInput } from "../../types/index.js";
import { databaseFailure } from "../leg.js";
import { type DocumentRecord, type EntityExtractor, toRecord } from "./document-record.js";
import { DATABASES, type DatabaseName, type Outbox, type UnfinishedDocument } from "./outbox.js";

/** Documents that are written together. */
const DOCUMENTS_PER_BATCH = 32;

/** How one database takes documents in and lets them go. */
export interface DatabaseWriter {
  write(documents: readonly DocumentRecord[], options: CallOptions): Promise<void>;
  remove(ids: readonly string[]): Promise<void>;
}

/** Brings documents into all three databases: noted in the outbox first, then written one database after the other. */
export class Ingestion {
  readonly #outbox: Outbox;
  readonly #writers: Record<DatabaseName, DatabaseWriter>;
  readonly #extract: EntityExtractor;
  readonly #quality = new QualityChecker();

  constructor(parts: { outbox: Outbox; writers: Record<DatabaseName, DatabaseWriter>; extract: EntityExtractor }) {
    this.#outbox = parts.outbox;
    this.#writers = parts.writers;
    this.#extract = parts.extract;
  }

  async addDocuments(
    documents: AsyncIterable<DocumentInput> | Iterable<DocumentInput>,
    { signal, onProgress }: CorpusOptions,
  ): Promise<AddDocumentsResult> {
    const result: AddDocumentsResult = { added: 0, skipped: 0, rejected: [] };
    let received = 0;
    let batch = new Map<string, DocumentRecord>();
    const flush = async (): Promise<void> => {
      const records = [...batch.values()];
      batch = new Map();
      const added = records.length === 0 ? 0 : await this.#add(records, signal);
      result.added += added;
      result.skipped += records.length - added;
      onProgress?.({ received, added: result.added, skipped: result.skipped, rejected: result.rejected.length });
    };
    for await (const document of documents) {
      if (signal?.aborted) throw new AbortedError();
      const ready = await readDocument(document, this.#quality, signal);
      if ("reason" in ready) result.rejected.push({ index: received, reason: ready.reason });
      else {
        // A later text of a document in the same batch has to come after the earlier one.
        if (batch.has(ready.id)) await flush();
        batch.set(ready.id, await toRecord(document, ready, this.#extract));
      }
      received += 1;
      if (batch.size === DOCUMENTS_PER_BATCH) await flush();
    }
    await flush();
    return result;
  }

  async removeDocuments(ids: readonly string[], { signal }: CallOptions): Promise<number> {
    const distinct = [...new Set(ids)];
    if (distinct.length === 0) return 0;
    await this.#outbox.exclusively(async (lockSignal) => this.#finish(await this.#outbox.addRemovals(distinct), lockSignal), signal);
    return distinct.length;
  }

  /** Goes on with what a crash or an unreachable database left. */
  async recover({ signal }: CallOptions): Promise<number> {
    let finished = 0;
    for (;;) {
      if (signal?.aborted) throw new AbortedError();
      const count = await this.#outbox.exclusively(async (lockSignal) => {
        const documents = await this.#outbox.unfinished(DOCUMENTS_PER_BATCH);
        await this.#finish(documents, lockSignal);
        return documents.length;
      }, signal);
      finished += count;
      if (count < DOCUMENTS_PER_BATCH) return finished;
    }
  }

  #add(records: readonly DocumentRecord[], signal: AbortSignal | undefined): Promise<number> {
    return this.#outbox.exclusively(async (lockSignal) => {
      const written = await this.#outbox.written(records);
      const fresh = records.filter(({ id }) => !written.has(id));
      if (fresh.length > 0) await this.#finish(await this.#outbox.add(fresh), lockSignal);
      return fresh.length;
    }, signal);
  }

  /** Every write may be repeated, so a crash between a write and its mark does no harm. */
  async #finish(documents: readonly UnfinishedDocument[], signal: AbortSignal): Promise<void> {
    for (const database of DATABASES) {
      const open = documents.filter(({ done }) => !done[database]);
      if (open.length === 0) continue;
      if (signal.aborted) throw new AbortedError();
      const records = open.flatMap(({ record }) => record ?? []);
      const removals = open.filter(({ record }) => record === null).map(({ id }) => id);
      try {
        if (records.length > 0) await this.#writers[database].write(records, { signal });
        if (removals.length > 0) await this.#writers[database].remove(removals);
      } catch (error) {
        throw signal.aborted ? new AbortedError() : writeFailure(database, open, error);
      }
      await this.#outbox.markDone(open, database);
    }
  }
}

function writeFailure(database: DatabaseName, documents: readonly UnfinishedDocument[], error: unknown): ClaraError {
  const what = `Writing ${documents.length} documents to ${database} failed; they are kept, call recover() once it is well`;
  return databaseFailure(error, what, { database, documentIds: documents.map(({ id }) => id) });
}
