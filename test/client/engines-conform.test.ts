import { startStandInEngine } from "../../src/testing/index.js";
import { describeEngine } from "./engine-conformance.js";

const adapters = [
  { id: "building@v1", path: "adapters/building@v1" },
  { id: "office@v1", path: "adapters/office@v1" },
];

describeEngine("the stand-in", async () => {
  const engine = await startStandInEngine({ hasAdapterFiles: (path) => adapters.some((adapter) => adapter.path === path) });
  return { url: engine.url, engine: "vllm", baseModel: "base", adapters, [Symbol.asyncDispose]: () => engine.close() };
});

// CLARA_TEST_ENGINE: JSON of an `EngineUnderTest` that runs already, for example a real vLLM
const external = process.env.CLARA_TEST_ENGINE;
if (external !== undefined) {
  describeEngine("the engine of CLARA_TEST_ENGINE", async () => ({
    ...JSON.parse(external),
    [Symbol.asyncDispose]: async () => undefined,
  }));
}
