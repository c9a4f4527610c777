import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
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
