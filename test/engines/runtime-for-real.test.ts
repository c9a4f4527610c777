import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { RuntimeEmbedder } from "../../src/embedders/index.js";
import { installRuntime, LocalRuntime, type RuntimeEnvironment, tinyBaseModel } from "../../src/runtime/index.js";
import { describeEngine } from "./engine-conformance.js";
import { describeProofs } from "./support/prove-for-real.js";
import { type TrainedAdapter, trainAdapters } from "./support/trained-adapters.js";

let root: string;
let environment: RuntimeEnvironment;
let runtime: LocalRuntime;
let adapters: TrainedAdapter[];
let endpoint: { url: string; token?: string };

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "clara-runtime-"));
  environment = await installRuntime();
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

it("a runtime that holds one adapter swaps it for the next, proves it, and answers every question by its own", async () => {
  // a runtime has its root to itself
  await cp(join(root, "adapters"), join(root, "narrow", "adapters"), { recursive: true });
  await using narrow = new LocalRuntime({
    root: join(root, "narrow"),
    model: tinyBaseModel(),
    environment,
    args: ["--max-adapters", "1"],
    env: { OMP_NUM_THREADS: "1" },
  });
  const pathOf = (id: string) => join(root, "narrow", "adapters", id);
  await using serving = new ServingClient({
    engine: "runtime",
    endpoints: [narrow],
    adapters: {
      getAdapter: async (id) => ({ id, path: pathOf(id) }),
      adapterIdentity: async (id) => adapters.find((adapter) => adapter.id === id)!.identity,
    },
    retries: { max: 0 },
    temperature: 0,
    maxTokens: 8,
  });
  const asked = Array.from({ length: 12 }, (_, index) => adapters[index % 2]!.id);
  const outcomes = await serving.generateBatch(asked.map((adapterId) => ({ prompt: "Where does team 1 meet?", adapterId })));
  expect(outcomes.map((one) => (one.status === "fulfilled" ? one.value.model : one.reason.message))).toEqual(asked);
  expect((await serving.listAdapters()).length).toBe(1);
  const [first, second] = adapters as [TrainedAdapter, TrainedAdapter];
  for (const { id } of [first, second, first]) {
    expect(await serving.loadAdapter({ id, path: pathOf(id) })).toMatchObject({ endpoints: [{ proof: { status: "proven" } }] });
  }
  expect((await serving.listAdapters()).map(({ id }) => id)).toEqual([first.id]);
}, 120_000);
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
