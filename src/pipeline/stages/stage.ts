import type { Updateable } from "kysely";
import type { Executor, Store } from "../../store/store.js";
import type { CycleTable } from "../../store/tables/cycle.js";
import type { LearningCycle, StageName } from "../../types/cycle.js";
import type { CycleRow, CycleState } from "../cycle-record.js";
import type { PipelineEmitter } from "../events.js";
import type { ResolvedPipelineOptions } from "../pipeline-options.js";
import type { DatasetsPort, RouterPort, ServingPort, TrainingPort } from "../ports.js";
import type { SampleEnd } from "../sample-ledger.js";

/** The other rooms, as stages use them. */
export interface StageParts {
  store: Store;
  datasets: DatasetsPort;
  training: TrainingPort;
  router: RouterPort;
  serving: ServingPort;
  events: PipelineEmitter;
  options: ResolvedPipelineOptions;
}

/** What a stage works with. */
export interface StageContext extends StageParts {
  cycle: CycleRow;
  state: CycleState;
  /** Aborted when the pipeline stops, the lease is lost, or the cycle is cancelled. */
  signal: AbortSignal;
  /** ISO 8601. */
  now(): string;
  /** Writes to the cycle before the stage ends; fenced by the lease. */
  update(patch: Updateable<CycleTable>, state?: CycleState): Promise<void>;
  /** Shows progress within the stage. */
  note(detail: object): Promise<void>;
  failpoint(name: string): Promise<void>;
  /** The cycle as people see it. */
  view(): Promise<LearningCycle>;
}

/** How a stage ended; everything in it is committed together with the stage's row. */
export interface StageResult {
  /** Null ends the cycle. */
  next: StageName | null;
  detail: object;
  patch?: Updateable<CycleTable>;
  state?: CycleState;
  /** With `next: null`: how the cycle ended, and its samples with it. */
  end?: { status: LearningCycle["status"]; samples: SampleEnd; error?: { code: string; message: string } };
  /** Runs in the same transaction; must touch no other connection. */
  commit?(transaction: Executor): Promise<void>;
  /** Runs after the commit; must not throw. */
  after?(): Promise<void> | void;
}

/** One step of a cycle. Run again after a crash, it must come to the same end. */
export type Stage = (context: StageContext) => Promise<StageResult>;
