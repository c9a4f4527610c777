import { readDocument } from "../../datasets/document-input.js";
import type { CorpusOptions } from "../../datasets/index.js";
import { QualityChecker } from "../../datasets/index.js";
import { AbortedError, type ClaraError, ConfigurationError } from "../../errors.js";
import type { AddDocumentsResult, CallOptions, DocumentInput } from "../../types/index.js";
import { databaseFailure } from "../leg.js";
import { type DocumentRecord, type EntityExtractor, toRecord } from "./document-record.js";
import { DATABASES, type DatabaseName, type Outbox, type UnfinishedDocument } from "./outbox.js";
import type { DatabaseWriter } from "./writers.js";

/** Documents that are written together. */
const DOCUMENTS_PER_BATCH = 32;

/** Stored without its tenant, a document would be everybody's. */
const TENANT_UNKNOWN = "tenant: UDS3's documents belong to no tenant. Keep a tenant's documents in databases of its own";

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
      if (document?.tenant !== undefined) result.rejected.push({ index: received, reason: TENANT_UNKNOWN });
      else if ("reason" in ready) result.rejected.push({ index: received, reason: ready.reason });
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

  /** Goes on with what a crash or an unreachable database left; a document that is refused keeps no other one waiting. */
  async recover({ signal }: CallOptions): Promise<number> {
    let finished = 0;
    let refusal: ClaraError | undefined;
    for (let after = ""; ; ) {
      if (signal?.aborted) throw new AbortedError();
      const documents = await this.#outbox.exclusively(async (lockSignal) => {
        const open = await this.#outbox.unfinished(DOCUMENTS_PER_BATCH, after);
        try {
          await this.#finish(open, lockSignal);
          finished += open.length;
        } catch (error) {
          if (!isRefusal(error)) throw error;
          finished += open.length - error.details.documentIds.length;
          refusal ??= error;
        }
        return open;
      }, signal);
      const last = documents.at(-1);
      if (last === undefined) break;
      after = last.id;
    }
    if (refusal) throw refusal;
    return finished;
  }

  #add(records: readonly DocumentRecord[], signal: AbortSignal | undefined): Promise<number> {
    return this.#outbox.exclusively(async (lockSignal) => {
      const written = await this.#outbox.written(records);
      const fresh = records.filter(({ id }) => !written.has(id));
      if (fresh.length > 0) await this.#finish(await this.#outbox.add(fresh), lockSignal);
      return fresh.length;
    }, signal);
  }

  /**
   * Every write may be repeated, so a crash between a write and its mark does no harm. Where a database refuses a batch, its documents
   * are written one by one: the sound ones get through.
   */
  async #finish(documents: readonly UnfinishedDocument[], signal: AbortSignal): Promise<void> {
    const refused = new Map<string, unknown>();
    for (const database of DATABASES) {
      const open = documents.filter(({ id, done }) => !done[database] && !refused.has(id));
      if (open.length === 0) continue;
      try {
        await this.#writeTo(database, open, signal);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        for (const document of open) {
          try {
            await this.#writeTo(database, [document], signal);
          } catch (one) {
            if (!isRefusal(one)) throw one;
            refused.set(document.id, one);
          }
        }
      }
    }
    const [first] = refused.values();
    if (first !== undefined) {
      const { code, message, details, cause } = first as ClaraError;
      throw new ConfigurationError(code, message, { cause, details: { ...details, documentIds: [...refused.keys()] } });
    }
  }

  async #writeTo(database: DatabaseName, documents: readonly UnfinishedDocument[], signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw new AbortedError();
    const records = documents.flatMap(({ record }) => record ?? []);
    const removals = documents.filter(({ record }) => record === null).map(({ id }) => id);
    try {
      if (records.length > 0) await this.#writers[database].write(records, { signal });
      if (removals.length > 0) await this.#writers[database].remove(removals);
    } catch (error) {
      throw signal.aborted ? new AbortedError() : writeFailure(database, documents, error);
    }
    await this.#outbox.markDone(documents, database);
  }
}

function writeFailure(database: DatabaseName, documents: readonly UnfinishedDocument[], error: unknown): ClaraError {
  const what = `Writing ${documents.length} documents to ${database} failed (they are kept; call recover() once it is well)`;
  return databaseFailure(error, what, { database, documentIds: documents.map(({ id }) => id) });
}

/** True where the database was there and did not want these documents. */
function isRefusal(error: unknown): error is ClaraError & { details: { documentIds: string[] } } {
  return error instanceof ConfigurationError && Array.isArray(error.details.documentIds);
}
