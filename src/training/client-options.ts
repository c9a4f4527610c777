import type { Store } from "../store/store.js";
import type { CallOptions, Logger } from "../types/common.js";
import type { Dataset, DatasetItem, SplitName } from "../types/dataset.js";
import type { TrainerType, TrainingOverrides } from "../types/job.js";
import type { TrainingBackend } from "./training-backend.js";

/** What training reads of datasets; `DatasetManager` satisfies it. */
export interface DatasetSource {
  get(id: string, options?: CallOptions): Promise<Pick<Dataset, "id" | "splits">>;
  items(id: string, options?: { split?: SplitName } & CallOptions): AsyncIterable<DatasetItem>;
}

export interface TrainingDefaults {
  /** Jobs at once, over all processes of one database. Default 2. */
  maxConcurrentJobs?: number;
  /** A run that takes longer is stopped and fails with `training_timeout`. Default 120. */
  jobTimeoutMinutes?: number;
  /** Default 500. */
  checkpointEverySteps?: number;
  /** Finished jobs and their events are deleted after this many days. Default 30. */
  cleanupDays?: number;
  /** Automatic new tries after a failure that may pass (crash of the trainer, memory, disk). Default 2. */
  maxRetries?: number;
  /** How often a job whose worker vanished is taken up again before it fails. Default 5. */
  maxLostWorkers?: number;
  /** Applied before the trainer's and the job's own overrides. */
  overrides?: TrainingOverrides;
  /** Overrides for one trainer's jobs, applied before the job's own. */
  trainers?: Partial<Record<TrainerType, TrainingOverrides>>;
}

export interface TrainingClientOptions {
  store: Store;
  /** Where jobs run; null for a process that only creates and watches them. */
  backend: TrainingBackend | null;
  datasets: DatasetSource;
  /** Folder on the runtime's machine, or hub id, of the model that adapters are trained for. */
  baseModel: string;
  defaults?: TrainingDefaults;
  logger?: Logger;
}

export const TRAINING_DEFAULTS = {
  maxConcurrentJobs: 2,
  jobTimeoutMinutes: 120,
  checkpointEverySteps: 500,
  cleanupDays: 30,
  maxRetries: 2,
  maxLostWorkers: 5,
  overrides: {},
  trainers: {},
} as const satisfies Required<TrainingDefaults>;

/** The options with every default filled in, frozen. */
export interface ResolvedTrainingOptions extends Omit<TrainingClientOptions, "defaults" | "logger"> {
  readonly defaults: Readonly<Required<TrainingDefaults>>;
  readonly logger: Logger;
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export function resolveTrainingOptions(options: TrainingClientOptions): ResolvedTrainingOptions {
  const given = Object.fromEntries(Object.entries(options.defaults ?? {}).filter(([, value]) => value !== undefined));
  return Object.freeze({ ...options, defaults: Object.freeze({ ...TRAINING_DEFAULTS, ...given }), logger: options.logger ?? silent });
}
