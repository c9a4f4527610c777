import type { AdapterTables } from "./tables/adapter.js";
import type { CanaryTables } from "./tables/canary.js";
import type { CorpusTables } from "./tables/corpus.js";
import type { CycleTables } from "./tables/cycle.js";
import type { DatasetTables } from "./tables/dataset.js";
import type { FeedbackTables } from "./tables/feedback.js";
import type { GenerationTables } from "./tables/generation.js";
import type { TrainingTables } from "./tables/training.js";
import type { Uds3Tables } from "./tables/uds3.js";

/** Every table of the schema `clara`, for Kysely. */
export interface Database
  extends FeedbackTables,
    DatasetTables,
    TrainingTables,
    AdapterTables,
    CanaryTables,
    CycleTables,
    CorpusTables,
    GenerationTables,
    Uds3Tables {}
