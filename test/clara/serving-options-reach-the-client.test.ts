import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ClaraOptions, createClara } from "../../src/clara.js";
import { startStandInEngine } from "../../src/testing/index.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-serving-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it("every option of the serving client can be given to createClara", async () => {
  await using engine = await startStandInEngine();
  await using clara = await createClara({
    database: { dataDir: folder },
    worker: false,
    serving: {
      engine: "vllm",
      endpoints: [engine.url],
      maxTokens: 7,
      maxWaiting: 3,
      hedging: { afterMs: 500 },
      proof: { mode: "required" },
      health: { intervalMs: 0 },
    },
  });
  expect(clara.serving.options).toMatchObject({ maxWaiting: 3, hedging: { afterMs: 500 }, proof: { mode: "required" } });
  expect((await clara.serving.generate({ prompt: "Where?" })).text).toBe("base: Where?");
  expect(engine.questions[0]!.body).toMatchObject({ max_tokens: 7 });
});

it.each([
  ["no endpoint", { serving: { endpoints: [] } }],
  ["an engine that is not the runtime, and no endpoint", { serving: { engine: "vllm" } }],
] as [string, ClaraOptions][])("%s is refused before anything is opened", async (_name, options) => {
  await expect(createClara({ database: { dataDir: join(folder, "unopened") }, ...options })).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringContaining("name at least one engine"),
  });
});
