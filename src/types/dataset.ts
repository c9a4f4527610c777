import { z } from "zod";
import { Sample } from "./feedback.js";

/**
 * - `train`: learnt from.
 * - `recall`: one phrasing of a fact whose other phrasings are in `train`.
 * - `generalisation`: facts (groups of one answer) kept out whole.
 * - `preference`: thumbs without a right answer; never imitated.
 */
export const SplitName = z.enum(["train", "recall", "generalisation", "preference"]);
export type SplitName = z.infer<typeof SplitName>;

/** One row of a dataset. */
export const DatasetItem = z.object({
  sample: Sample,
  split: SplitName,
  /** Key of the answer; samples of one group state the same fact and share a key. */
  group: z.string(),
});
export type DatasetItem = z.infer<typeof DatasetItem>;

export const DatasetStatistics = z.object({
  samples: z.number().int(),
  groups: z.number().int(),
  /** Distinct people. */
  subjects: z.number().int(),
  splits: z.record(SplitName, z.number().int()),
  /** Sum over train rows; `tokensAreEstimated` where no tokenizer was given. */
  tokens: z.number().int(),
  tokensAreEstimated: z.boolean(),
  /** Characters. */
  responseLength: z.object({ min: z.number(), mean: z.number(), max: z.number() }),
});
export type DatasetStatistics = z.infer<typeof DatasetStatistics>;

/** Why samples were left out, by reason. */
export const PreparationReport = z.object({
  received: z.number().int(),
  kept: z.number().int(),
  removed: z.array(z.object({ sampleId: z.string(), reason: z.string() })),
});
export type PreparationReport = z.infer<typeof PreparationReport>;

/** Where a dataset's rows come from. */
export const DatasetLineage = z.object({
  cycleId: z.string().optional(),
  /** What `create` was given. */
  source: z.enum(["samples", "items", "query", "feedback", "import"]).optional(),
  /** The search whose results became samples, as JSON. */
  query: z.string().optional(),
  /** Number of feedback entries that were given. */
  feedbackIds: z.number().int().optional(),
  /** The first 1,000 ids of the samples that became rows, in the rows' order; those of erased people are taken out. */
  sampleIds: z.array(z.string()).optional(),
  /** The file that was imported: its SHA-256 (hex), its records, and how many of them could not be used. */
  import: z.object({ format: z.string(), sha256: z.string(), rows: z.number().int(), rejected: z.number().int() }).optional(),
});
export type DatasetLineage = z.infer<typeof DatasetLineage>;

/** An immutable, versioned dataset. */
export const Dataset = z.object({
  id: z.string(),
  name: z.string().min(3).max(100),
  description: z.string().optional(),
  /** Counts up from 1 per name. */
  version: z.number().int().min(1),
  /** SHA-256 over the canonical rows, hex; the same rows give the same hash. */
  contentHash: z.string(),
  domain: z.string().optional(),
  splits: z.record(SplitName, z.number().int()),
  /** Mean quality score of the rows, 0..1. */
  quality: z.number().min(0).max(1),
  statistics: DatasetStatistics,
  lineage: DatasetLineage,
  createdAt: z.iso.datetime(),
});
export type Dataset = z.infer<typeof Dataset>;

/** What is left of a deleted dataset; its rows are gone. */
export const DatasetTombstone = z.object({
  id: z.string(),
  name: z.string(),
  version: z.number().int().min(1),
  contentHash: z.string(),
  /** Number of rows that it had when it was made. */
  samples: z.number().int(),
  createdAt: z.iso.datetime(),
  deletedAt: z.iso.datetime(),
  /** What `delete` was told. */
  reason: z.string().optional(),
});
export type DatasetTombstone = z.infer<typeof DatasetTombstone>;

/** Options of `prepareTrainingData`. */
export const PreparationOptions = z.object({
  /** Longest sample in tokens; longer ones are removed with a reason. Default 512. */
  maxLength: z.number().int().min(8).default(512),
  removeDuplicates: z.boolean().default(true),
  /** Whether the trainer may vary the questions' frame words. Default false. */
  augmentation: z.boolean().default(false),
  /** 0..1, default .5. */
  minQualityScore: z.number().min(0).max(1).default(0.5),
});
export type PreparationOptions = z.input<typeof PreparationOptions>;

/** What `prepareTrainingData` gives back. */
export const PreparedData = z.object({
  items: z.array(DatasetItem),
  report: PreparationReport,
  statistics: DatasetStatistics,
});
export type PreparedData = z.infer<typeof PreparedData>;
