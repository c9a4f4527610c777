import type { Store } from "../store/store.js";
import type { Embedder } from "../types/common.js";
import type { BufferStats } from "./buffer.js";
import type { PipelineOptions } from "./pipeline-options.js";
import type { DatasetsPort, GenerationsPort, RouterPort, ServingPort, TrainingPort } from "./ports.js";

/** The other rooms, and how the pipeline behaves. */
export interface PipelineParts {
  store: Store;
  datasets: DatasetsPort;
  training: TrainingPort;
  router: RouterPort;
  serving: ServingPort;
  /** Resolves `generationId`s; without it feedback must bring prompt and response. */
  generations?: GenerationsPort;
  /** Finds what says the same in other words before a batch is chosen; without it only nearly equal words are found. */
  embedder?: Embedder;
  options?: PipelineOptions;
}

/** What the pipeline is doing, as this process knows it. */
export interface PipelineStatus {
  name: string;
  /** True between `start` and `stop`. */
  isRunning: boolean;
  /** Cycles that this process drives. */
  activeCycles: string[];
  buffer: BufferStats;
}
