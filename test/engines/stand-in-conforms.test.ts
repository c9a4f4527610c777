import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startStandInEngine, startStandInOllama } from "../../src/testing/index.js";
import { describeEngine } from "./engine-conformance.js";
import { talkToOllama, talkToVllm } from "./support/conversations.js";
import { converse } from "./support/converse.js";

const adapters = [
  { id: "building@v1", path: "adapters/building@v1" },
  { id: "office@v1", path: "adapters/office@v1" },
];
const start = () => startStandInEngine({ hasAdapterFiles: (path) => adapters.some((adapter) => adapter.path === path) });

describe("the stand-in", () => {
  it("holds its part of a conversation as vLLM did when it was recorded", async () => {
    const paths = { adapterPath: adapters[0]!.path, emptyPath: "adapters/nothing", brokenPath: "adapters/broken" };
    await using engine = await startStandInEngine({
      hasAdapterFiles: (path) => path !== paths.emptyPath,
      adapterComplaint: (path) =>
        path === paths.brokenPath ? "Error while deserializing header: incomplete metadata, file not fully covered" : null,
    });
    const names = [
      [paths.adapterPath, "ADAPTER_PATH"],
      [paths.emptyPath, "EMPTY_PATH"],
      [paths.brokenPath, "BROKEN_PATH"],
    ] as const;
    await expect(await converse({ url: engine.url, names }, talkToVllm(paths))).toMatchFileSnapshot("vllm-conversation.json");
  });

  it("holds its part of a conversation as Ollama did when it was recorded", async () => {
    await using engine = await startStandInOllama();
    const files = { "adapter_config.json": Buffer.from("{}"), "adapter_model.safetensors": Buffer.from("weights") };
    await expect(await converse({ url: engine.url, names: [] }, talkToOllama(files))).toMatchFileSnapshot("ollama-conversation.json");
  });
});

describeEngine("the stand-in for vLLM", async () => {
  const engine = await start();
  return { url: engine.url, engine: "vllm", baseModel: "base", adapters, [Symbol.asyncDispose]: () => engine.close() };
});

describeEngine(
  "the stand-in as a server of models by name",
  async () => {
    const engine = await start();
    engine.restart({ adapters });
    return { url: engine.url, engine: "openai-compatible", baseModel: "base", adapters, [Symbol.asyncDispose]: () => engine.close() };
  },
  { keepsAdapters: true },
);

describeEngine(
  "the stand-in for Ollama",
  async () => {
    const engine = await startStandInOllama();
    const folder = await mkdtemp(join(tmpdir(), "clara-ollama-"));
    const onDisk = adapters.map(({ id }) => ({ id, path: join(folder, id) }));
    for (const { path } of onDisk) {
      await mkdir(path);
      await writeFile(join(path, "adapter_config.json"), "{}");
      await writeFile(join(path, "adapter_model.safetensors"), `weights of ${path}`);
    }
    return {
      url: engine.url,
      engine: "ollama",
      baseModel: "base",
      adapters: onDisk,
      [Symbol.asyncDispose]: async () => {
        await engine.close();
        await rm(folder, { recursive: true });
      },
    };
  },
  { hidesFolders: true, hasNoLimit: true },
);

// CLARA_TEST_ENGINE: JSON of an `EngineUnderTest` that runs already, for example vLLM on a GPU
const external = process.env.CLARA_TEST_ENGINE;
if (external !== undefined) {
  describeEngine("the engine of CLARA_TEST_ENGINE", async () => ({
    ...JSON.parse(external),
    [Symbol.asyncDispose]: async () => undefined,
  }));
}
