import type { ReadableStream } from "node:stream/web";
import { AbortedError, ConfigurationError, ValidationError } from "../errors.js";
import type { Executor, Store } from "../store/store.js";
import { plainDomain } from "../support/tenancy.js";
import type {
  AddDocumentsResult,
  CallOptions,
  Dataset,
  DatasetItem,
  DatasetTombstone,
  DocumentInput,
  Embedder,
  EntityExtractor,
  JudgedQuery,
  Logger,
  PreparedData,
  SearchQuery,
  SearchResult,
  SearchSettings,
  SearchTuning,
  SplitName,
} from "../types/index.js";
import { analyzeItems, type DatasetAnalysis } from "./analysis.js";
import type { TextClassifier } from "./checks/profanity.js";
import { Corpus, type CorpusOptions, type CorpusStatistics } from "./corpus.js";
import { collectRows, type DatasetInput, emptyDataset, parseHeader, requireArray } from "./dataset-input.js";
import { changesBetween, type DatasetChange, type DatasetDiff, summariseChanges } from "./diff.js";
import { type ExportOptions, exportItems, parseExportOptions } from "./export/export-dataset.js";
import { PlainEntityExtractor } from "./graph/plain-entity-extractor.js";
import type { ImportSource } from "./import/byte-source.js";
import { generationsOf } from "./import/generations.js";
import { type ImportParts, importDataset } from "./import/import-dataset.js";
import type { ImportDatasetOptions, ImportDatasetResult } from "./import/import-options.js";
import { type PrepareOptions, prepareCandidates, toCandidates } from "./preparation.js";
import { QualityChecker, type QualityOptions } from "./quality-checker.js";
import { type DatasetFilter, DatasetRegistry } from "./registry.js";
import type { TrainingSource } from "./sample-input.js";
import { HybridSearch, type TuneOptions } from "./search/hybrid-search.js";
import type { TunedScope } from "./search/tuned-settings.js";
import type { Tokenizer } from "./tokenizer.js";

/** Where documents are kept and searched instead of the store; `Uds3` of `clara-sdk/uds3` is one. */
export interface DocumentStore {
  search(query: SearchQuery, options?: CallOptions): Promise<SearchResult[]>;
  addDocuments(documents: AsyncIterable<DocumentInput> | Iterable<DocumentInput>, options?: CorpusOptions): Promise<AddDocumentsResult>;
  removeDocuments(ids: readonly string[], options?: CallOptions): Promise<number>;
}

/** Options of `DatasetManager`. */
export interface DatasetManagerOptions {
  store: Store;
  /** Default: the store itself. `reembed`, `reextract` and `corpusStatistics` are about the store's documents in any case. */
  documents?: DocumentStore;
  /** Makes vectors of texts; without one only keyword search works. */
  embedder?: Embedder;
  /** Finds what texts speak of, for graph search; default: `PlainEntityExtractor`. `null`: no graph. */
  entityExtractor?: EntityExtractor | null;
  /** Defaults of searches that nothing was tuned for; default: all legs, weighted .5 (vector), .3 (graph), .2 (keyword). */
  search?: SearchSettings;
  /** Judges profanity; default: German and English word lists. */
  profanity?: TextClassifier;
  /** Counts tokens as the base model does; without one they are estimated, and results say so. */
  tokenizer?: Tokenizer;
  /** Bounds of the quality checks. `domainRelevance: true` compares samples with the corpus of their domain; default false. */
  quality?: Omit<QualityOptions, "profanity" | "domainRelevance"> & { domainRelevance?: boolean };
  /** Names what uses a dataset (`job <id>`, `cycle <id>`), so that `delete` refuses; default: nothing does. */
  references?: (id: string) => Promise<string[]>;
  logger?: Logger;
}

/**
 * Collects texts, searches them, judges and prepares training data, and keeps immutable, versioned datasets.
 * @example
 * ```ts
 * const datasets = new DatasetManager({ store: await openStore() });
 * const dataset = await datasets.create({ name: "office", samples: [{ prompt: "Wo ist das Büro?", response: "Im ersten Stock." }] });
 * for await (const item of datasets.items(dataset.id)) console.log(item.split, item.sample.prompt);
 * ```
 */
export class DatasetManager {
  /** The checks that samples go through; also for use on its own. */
  readonly quality: QualityChecker;
  readonly #registry: DatasetRegistry;
  readonly #corpus: Corpus;
  readonly #search: HybridSearch;
  readonly #documents: DocumentStore;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #references: (id: string) => Promise<string[]>;
  readonly #logger: Logger | undefined;
  readonly #generations: ImportParts["generation"];

  constructor(options: DatasetManagerOptions) {
    if (!options?.store)
      throw new ConfigurationError("config_invalid", "DatasetManager needs a store: new DatasetManager({ store: await openStore() }).");
    const { store, embedder, profanity, quality: { domainRelevance, ...bounds } = {} } = options;
    requireEmbedder(embedder);
    const extractor = options.entityExtractor === null ? undefined : (options.entityExtractor ?? new PlainEntityExtractor());
    this.#search = new HybridSearch({ store, embedder, extractor, settings: options.search });
    this.quality = new QualityChecker({
      ...bounds,
      profanity,
      ...(domainRelevance ? { domainRelevance: this.#relevance.bind(this) } : {}),
    });
    this.#corpus = new Corpus({ store, embedder, extractor, quality: this.quality });
    this.#documents = options.documents ? withDefaults(options.documents, options.search) : inStore(this.#corpus, this.#search);
    this.#registry = new DatasetRegistry(store);
    this.#tokenizer = options.tokenizer;
    this.#references = options.references ?? (async () => []);
    this.#logger = options.logger;
    this.#generations = generationsOf(store);
  }

  /**
   * Adds documents to the corpus: cut into chunks, judged, embedded, searchable when it resolves. What is refused comes back with its index and reason.
   * An abort or a crash keeps the batches (of 64 documents) that were written; the same documents again add the rest. Files and streams: `readDocuments`.
   * @example
   * ```ts
   * await clara.datasets.addDocuments([{ title: "Photovoltaik", content: text, domain: "recht" }], { onProgress: ({ received }) => console.log(received) });
   * ```
   */
  async addDocuments(
    documents: AsyncIterable<DocumentInput> | Iterable<DocumentInput>,
    options: CorpusOptions = {},
  ): Promise<AddDocumentsResult> {
    requireDocuments(documents);
    const result = await this.#documents.addDocuments(documents, options);
    this.#logger?.info({ added: result.added, skipped: result.skipped, rejected: result.rejected.length }, "documents added");
    return result;
  }

  /**
   * Takes documents out of the corpus; gives how many were there.
   * @example
   * ```ts
   * await clara.datasets.removeDocuments(["law-17"]); // 1
   * ```
   */
  async removeDocuments(ids: readonly string[], options: CallOptions = {}): Promise<number> {
    return this.#documents.removeDocuments(requireIds(ids), options);
  }

  /**
   * Embeds the texts that have no vector of the present embedder; needed once after the embedder was changed or added. Interrupted, the next call does the rest.
   * @example
   * ```ts
   * await clara.datasets.reembed({ onProgress: ({ received }) => console.log(received) });
   * ```
   */
  async reembed(options: CorpusOptions = {}): Promise<{ embedded: number }> {
    return this.#corpus.reembed(options);
  }

  /**
   * Finds anew what the texts speak of that another entity extractor (by its `name`) has looked through, or none; needed once after it was changed or added. Until then
   * the graph has what the earlier one found. Interrupted, the next call does the rest.
   * @throws ConfigurationError `config_invalid` with `entityExtractor: null`
   * @example
   * ```ts
   * const { extracted } = await clara.datasets.reextract({ onProgress: ({ received, total }) => console.log(received, total) });
   * ```
   */
  async reextract(options: CorpusOptions = {}): Promise<{ extracted: number }> {
    return this.#corpus.reextract(options);
  }

  /**
   * Counts documents and chunks of the corpus, chunks also by embedder and by entity extractor.
   * @example
   * ```ts
   * (await clara.datasets.corpusStatistics()).documents; // 1200
   * ```
   */
  async corpusStatistics(options: CallOptions = {}): Promise<CorpusStatistics> {
    return this.#corpus.statistics(options);
  }

  /**
   * Searches the corpus; best first. Default legs: keyword, vector where there is an embedder, graph where entities were found. A leg that was asked for and
   * is not there is an error, never a shorter search. Where the database has pg_trgm, a word that no German text has alone is found inside longer ones
   * ("Genehmigung" in "Baugenehmigung"); without it, it is not.
   * @throws ValidationError `input_invalid`; ClaraError `capability_missing` (graph without extractor; vector without embedder; vectors of another embedder: call `reembed`)
   * @example
   * ```ts
   * const results = await clara.datasets.search({ queryText: "Genehmigung für Photovoltaik", topK: 10, filters: { domain: "recht", minQuality: 0.5 } });
   * ```
   */
  async search(query: SearchQuery, options: CallOptions = {}): Promise<SearchResult[]> {
    return this.#documents.search(query, options);
  }

  /**
   * Chooses fusion and weights by queries with known answers (at least 4; some dozens say more), by cross-validated nDCG@10. Never worse on them than the best leg alone.
   * With `apply`, every process of this database searches so from then on: in the tenant and the domain of `filters`, or everywhere without them. The settings of a
   * tenant go before everybody's, those of a domain before every domain's, and what a query says itself before all. `resetSearch` takes them back.
   * @throws ValidationError `input_invalid`
   * @example
   * ```ts
   * const { settings, ndcg, legs } = await clara.datasets.tuneSearch(judged, { apply: true });
   * ```
   */
  async tuneSearch(judged: readonly JudgedQuery[], options: TuneOptions = {}): Promise<SearchTuning> {
    return this.#search.tune(judged, options);
  }

  /**
   * Takes back what `tuneSearch` applied for exactly this tenant and domain; without them, for all. Gives false where nothing was applied there.
   * @example
   * ```ts
   * await clara.datasets.resetSearch({ domain: "recht" }); // true
   * ```
   */
  async resetSearch(scope: TunedScope = {}, options: CallOptions = {}): Promise<boolean> {
    return this.#search.reset(scope, options);
  }

  /**
   * Filters, deduplicates, counts and splits samples or search results; each one ends in one split or in `report.removed` with its reason, whatever the order of the input.
   * A search result becomes a sample by its title (prompt) and text (answer).
   * @throws ValidationError `input_invalid`; `dataset_too_small` only with `holdout.required`
   * @example
   * ```ts
   * const { items, report } = await clara.datasets.prepareTrainingData(samples, { maxLength: 512, minQualityScore: 0.5 });
   * ```
   */
  async prepareTrainingData(
    sources: readonly TrainingSource[],
    options: PrepareOptions = {},
    callOptions: CallOptions = {},
  ): Promise<PreparedData> {
    const parts = { quality: this.quality, tokenizer: this.#tokenizer };
    return prepareCandidates(
      toCandidates(requireArray("samples", sources), options.domain),
      this.#withDefaults(options),
      parts,
      callOptions,
    );
  }

  /**
   * Makes an immutable dataset: the next version of its name, or the version that has the same rows already. With `transaction` it becomes visible when that one commits.
   * @throws ValidationError `input_invalid`, `dataset_empty` (with the reasons), `dataset_too_small`
   * @example
   * ```ts
   * const dataset = await clara.datasets.create({ name: "office", domain: "office", samples });
   * dataset.splits; // { train: 80, recall: 20, generalisation: 2, preference: 5 }
   * ```
   */
  async create(input: DatasetInput, options: CallOptions & { transaction?: Executor } = {}): Promise<Dataset> {
    if (options.signal?.aborted) throw new AbortedError();
    const { name, description, domain } = parseHeader(input);
    const preparation = this.#withDefaults({ ...input.preparation, domain: input.preparation?.domain ?? domain });
    const parts = { quality: this.quality, tokenizer: this.#tokenizer, search: this.search.bind(this) };
    const { prepared, lineage, isPrepared } = await collectRows(input, preparation, parts, { signal: options.signal });
    if (prepared.items.length === 0) throw emptyDataset(name, prepared.report);
    const dataset = await this.#registry.create(
      {
        name,
        description,
        domain,
        items: prepared.items,
        statistics: prepared.statistics,
        lineage: { ...lineage, ...input.lineage },
        preparation: isPrepared ? undefined : { options: preparation as Record<string, unknown>, report: prepared.report },
      },
      options,
    );
    this.#logger?.info({ datasetId: dataset.id, name, version: dataset.version, rows: dataset.statistics.samples }, "dataset created");
    return dataset;
  }

  /**
   * One dataset, with its lineage. @throws NotFoundError `dataset_not_found`, `dataset_deleted` (the tombstone is in `details`)
   * @example
   * ```ts
   * (await clara.datasets.get(id)).splits.train; // 80
   * ```
   */
  async get(id: string, options: CallOptions & { transaction?: Executor } = {}): Promise<Dataset> {
    return this.#registry.get(id, options);
  }

  /**
   * Datasets, newest first.
   * @example
   * ```ts
   * const [latest] = await clara.datasets.list({ name: "office", limit: 1 });
   * ```
   */
  async list(filter: DatasetFilter = {}, options: CallOptions = {}): Promise<Dataset[]> {
    return this.#registry.list(filter, options);
  }

  /**
   * The rows of a dataset in a fixed order, read in batches of 500. @throws NotFoundError `dataset_not_found`
   * @example
   * ```ts
   * for await (const { sample } of clara.datasets.items(id, { split: "train" })) console.log(sample.prompt);
   * ```
   */
  items(id: string, options: CallOptions & { split?: SplitName } = {}): AsyncIterable<DatasetItem> {
    return this.#registry.items(id, options);
  }

  /**
   * Deletes a dataset: its rows go; a tombstone with its content hash, the time and the reason stays, and its version number is never given again.
   * @throws ConflictError `dataset_in_use`; NotFoundError `dataset_not_found`, `dataset_deleted`
   * @example
   * ```ts
   * await clara.datasets.delete(id, { reason: "wrong department" });
   * ```
   */
  async delete(id: string, options: CallOptions & { reason?: string } = {}): Promise<void> {
    await this.#registry.get(id, options);
    await this.#registry.delete(id, await this.#references(id), options);
  }

  /**
   * What is left of a deleted dataset; null while it is there. @throws NotFoundError `dataset_not_found` where it never was
   * @example
   * ```ts
   * (await clara.datasets.tombstone(id))?.reason; // "wrong department"
   * ```
   */
  async tombstone(id: string, options: CallOptions = {}): Promise<DatasetTombstone | null> {
    return this.#registry.tombstone(id, options);
  }

  /**
   * Counts the rows that were added, removed and changed from one dataset to another, by sample id, also by split. Reads both once, in batches of 500.
   * @throws NotFoundError `dataset_not_found`, `dataset_deleted`
   * @example
   * ```ts
   * const [after, before] = await clara.datasets.list({ name: "office", limit: 2 });
   * if (before && after) console.log((await clara.datasets.diff(before.id, after.id)).added);
   * ```
   */
  async diff(before: string, after: string, options: CallOptions = {}): Promise<DatasetDiff> {
    const datasets = { before: await this.#registry.get(before, options), after: await this.#registry.get(after, options) };
    const [left, right] = [this.#registry.itemsBySample(before, options), this.#registry.itemsBySample(after, options)];
    return summariseChanges(datasets, left, right, options);
  }

  /**
   * The rows that differ between two datasets, in the order of their sample ids. @throws NotFoundError `dataset_not_found`, `dataset_deleted`
   * @example
   * ```ts
   * const [after, before] = await clara.datasets.list({ name: "office", limit: 2 });
   * if (before && after) for await (const { kind, sampleId } of clara.datasets.changes(before.id, after.id)) console.log(kind, sampleId);
   * ```
   */
  changes(before: string, after: string, options: CallOptions = {}): AsyncIterable<DatasetChange> {
    return changesBetween(this.#registry.itemsBySample(before, options), this.#registry.itemsBySample(after, options), options);
  }

  /**
   * Takes a person's rows out of every dataset, or with `feedbackIds` those that came from these feedbacks; gives the datasets that had some.
   * Their versions and hashes stay on record.
   * @example
   * ```ts
   * const { datasetIds } = await clara.datasets.eraseSubject("user-17");
   * ```
   */
  async eraseSubject(
    subjectId: string,
    options: CallOptions & { feedbackIds?: readonly string[]; transaction?: Executor } = {},
  ): Promise<{ datasetIds: string[]; items: number }> {
    return this.#registry.eraseSubject(subjectId, options);
  }

  /**
   * Statistics and quality of a dataset's rows, judged anew, with reasons. @throws NotFoundError `dataset_not_found`
   * @example
   * ```ts
   * const { quality, contradictions } = await clara.datasets.analyze(id);
   * ```
   */
  async analyze(id: string, options: CallOptions = {}): Promise<DatasetAnalysis> {
    const dataset = await this.#registry.get(id, options);
    const preparation = await this.#registry.preparationOf(id, options);
    return analyzeItems(dataset, preparation, this.items(id, options), { quality: this.quality, tokenizer: this.#tokenizer }, options);
  }

  /**
   * Writes a dataset as JSON lines, CSV or Parquet: to `path` (whole or not at all; gives the absolute path), or as a stream without it. People are named only with `includeSubjects`.
   * @throws ValidationError for an unknown format or folder; NotFoundError; StorageError `disk_full`, `store_unavailable`
   * @example
   * ```ts
   * const path = await clara.datasets.export(id, { format: "jsonl", path: "office.jsonl" });
   * const stream = await clara.datasets.export(id, { format: "parquet" });
   * ```
   */
  async export(id: string, exportOptions: ExportOptions & { path: string }, options?: CallOptions): Promise<string>;
  async export(id: string, exportOptions: ExportOptions & { path?: undefined }, options?: CallOptions): Promise<ReadableStream<Uint8Array>>;
  async export(id: string, exportOptions: ExportOptions, options?: CallOptions): Promise<string | ReadableStream<Uint8Array>>;
  async export(id: string, exportOptions: ExportOptions, options: CallOptions = {}): Promise<string | ReadableStream<Uint8Array>> {
    const parsed = parseExportOptions(exportOptions);
    await this.#registry.get(id, options);
    return exportItems(this.items(id, { split: parsed.split, signal: options.signal }), parsed, options);
  }

  /**
   * Makes a dataset of a file or a stream: CLARA's own exports (`jsonl`, `csv`, `parquet`), fine-tuning files (`openai`, `sharegpt`, `alpaca`), exports of
   * `langfuse` and `tensorzero`, and feedback (`veritas`). It is read once, record by record; what cannot be used is counted and named by row and code, and the
   * rest goes on. Nothing is made where it fails or is aborted.
   * @throws ValidationError `input_invalid`, `dataset_empty` (with the reasons), `payload_too_large` (too many samples to prepare); StorageError `disk_full`
   * @example
   * ```ts
   * const { dataset, rejected, errors } = await clara.datasets.import("alpaca.json", { format: "alpaca", name: "office" });
   * for (const { line, code, message } of errors) console.log(line, code, message);
   * ```
   */
  async import(source: ImportSource, options: ImportDatasetOptions): Promise<ImportDatasetResult> {
    const { name, description, domain } = parseHeader(options);
    const { prepare } = options;
    const preparation = this.#withDefaults({ ...prepare, domain: (prepare || undefined)?.domain ?? domain });
    const parts = { registry: this.#registry, quality: this.quality, tokenizer: this.#tokenizer, generation: this.#generations };
    const result = await importDataset(source, options, { name, description, domain, preparation }, parts);
    const { dataset, rows, rejected } = result;
    this.#logger?.info({ datasetId: dataset.id, name, version: dataset.version, rows, rejected }, "dataset imported");
    return result;
  }

  #withDefaults(options: PrepareOptions): PrepareOptions {
    return { ...options, minQualityScore: options.minQualityScore ?? this.quality.minScore };
  }

  /** Best match of a text among the domain's documents; null where there are none. */
  async #relevance(text: string, domain: string, options?: CallOptions): Promise<number | null> {
    const [best] = await this.search({ queryText: text.slice(0, 8192), topK: 1, filters: { domain: plainDomain(domain) } }, options);
    if (best) return best.score;
    const { chunks } = await this.#corpus.statistics(options);
    return chunks === 0 ? null : 0;
  }
}

function requireEmbedder(embedder: Embedder | undefined): void {
  if (embedder === undefined) return;
  const { name, dimensions, embed } = embedder ?? {};
  if (typeof name === "string" && name !== "" && Number.isInteger(dimensions) && typeof embed === "function") return;
  throw new ConfigurationError("config_invalid", "embedder must have a name, its number of dimensions and a function embed(texts).");
}

/** A string is iterable too, a document a character. */
function requireDocuments(documents: unknown): void {
  if (typeof documents === "object" && documents !== null && (Symbol.asyncIterator in documents || Symbol.iterator in documents)) return;
  throw new ValidationError("input_invalid", "Give documents as an array or an iterable; files are read by readDocuments(path).", {
    details: { field: "documents" },
  });
}

function requireIds(ids: unknown): readonly string[] {
  if (Array.isArray(ids) && ids.every((id) => typeof id === "string")) return ids;
  throw new ValidationError("input_invalid", "Give the ids of documents as an array of strings.", { details: { field: "ids" } });
}

/** A document store knows no settings of ours: what the query leaves open is filled in here. */
function withDefaults(documents: DocumentStore, settings: SearchSettings | undefined): DocumentStore {
  if (settings === undefined) return documents;
  return {
    search: (query, options) => documents.search({ ...settings, ...query }, options),
    addDocuments: (added, options) => documents.addDocuments(added, options),
    removeDocuments: (ids, options) => documents.removeDocuments(ids, options),
  };
}

function inStore(corpus: Corpus, search: HybridSearch): DocumentStore {
  return {
    search: (query, options) => search.search(query, options),
    addDocuments: (documents, options) => corpus.addDocuments(documents, options),
    removeDocuments: (ids, options) => corpus.removeDocuments(ids, options),
  };
}
