export type { CheckSummary, DatasetAnalysis } from "./analysis.js";
export { type TextClassification, type TextClassifier, type WordListOptions, wordListClassifier } from "./checks/profanity.js";
export type { CorpusOptions, CorpusProgress, CorpusStatistics } from "./corpus.js";
export type { DatasetInput } from "./dataset-input.js";
export { DatasetManager, type DatasetManagerOptions } from "./dataset-manager.js";
export {
  type DocumentFormat,
  type DocumentSource,
  type ReadDocumentsOptions,
  readDocuments,
} from "./documents/read-documents.js";
export { type Duplicate, DuplicateIndex, type DuplicateIndexOptions, type QuestionAnswer } from "./duplicate-index.js";
export type { ExportOptions } from "./export/export-dataset.js";
export type { ExportRow } from "./export/export-row.js";
export { PlainEntityExtractor } from "./graph/plain-entity-extractor.js";
export type { PairSketch } from "./pair-sketch.js";
export type { PrepareOptions } from "./preparation.js";
export { type DomainRelevance, QualityChecker, type QualityContext, type QualityOptions } from "./quality-checker.js";
export type { DatasetFilter, StoredPreparation } from "./registry.js";
export type { SampleInput, TrainingSource } from "./sample-input.js";
export type { TuneOptions } from "./search/hybrid-search.js";
export type { HoldoutOptions } from "./split.js";
export type { Tokenizer } from "./tokenizer.js";
