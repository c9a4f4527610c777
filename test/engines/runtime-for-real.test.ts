import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RuntimeEmbedder } from "../../src/embedders/index.js";
import { installRuntime, LocalRuntime, tinyBaseModel } from "../../src/runtime/index.js";
import { describeEngine } from "./engine-conformance.js";
import { describeProofs } from "./support/prove-for-real.js";
import { type TrainedAdapter, trainAdapters } from "./support/trained-adapters.js";

let root: string;
let runtime: LocalRuntime;
let adapters: TrainedAdapter[];
let endpoint: { url: string; token?: string };

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "clara-runtime-"));
  const environment = await installRuntime();
  runtime = new LocalRuntime({ root, model: tinyBaseModel(), environment, env: { OMP_NUM_THREADS: "1" } });
  adapters = await trainAdapters(["first", "second"], environment, root);
  endpoint = await runtime.resolve();
}, 900_000);

afterAll(async () => {
  await runtime.close();
  await rm(root, { recursive: true, force: true });
});

describeEngine("the local runtime", async () => ({
  ...endpoint,
  engine: "runtime",
  baseModel: "base",
  adapters: adapters.map(({ id, path }) => ({ id, path })),
  [Symbol.asyncDispose]: async () => undefined,
}));

describeProofs(
  "the local runtime",
  () => ({ provider: runtime, engine: "runtime", adapters, kill: () => process.kill(-runtime.pid!, "SIGKILL") }),
  20,
);

describe("the local runtime's embeddings", () => {
  it("are unit vectors in the order of the texts, nearer for a like wording", async () => {
    const embedder = new RuntimeEmbedder({ runtime });
    const [key, sameKey, sum] = (await embedder.embed(["Which key opens the greenhouse?", "Which key opens the chapel?", "3 plus 4"])) as [
      number[],
      number[],
      number[],
    ];
    const cosine = (left: number[], right: number[]): number => left.reduce((total, value, index) => total + value * right[index]!, 0);
    expect(cosine(key, key)).toBeCloseTo(1, 3);
    expect(cosine(key, sameKey)).toBeGreaterThan(cosine(key, sum));
    expect(embedder.dimensions).toBe(key.length);
  });
});
