import { expectTypeOf, it } from "vitest";
import type { ServingClient } from "../../src/client/index.js";
import type { GenerationRecorder } from "../../src/client/ports.js";
import type { DatasetManager } from "../../src/datasets/index.js";
import type { DatasetsPort, GenerationLog, RouterPort, ServingPort, TrainingPort } from "../../src/pipeline/index.js";
import type { AdapterRouter } from "../../src/router/index.js";
import type { TrainingClient } from "../../src/training/index.js";

it("takes the four classes as they are", () => {
  expectTypeOf<DatasetManager>().toExtend<DatasetsPort>();
  expectTypeOf<TrainingClient>().toExtend<TrainingPort>();
  expectTypeOf<AdapterRouter>().toExtend<RouterPort>();
  expectTypeOf<ServingClient>().toExtend<ServingPort>();
  expectTypeOf<GenerationLog>().toExtend<GenerationRecorder>();
});
