import { cp, mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { installRuntime, LocalVllm, tinyBaseModel } from "../../src/runtime/index.js";
import { describeEngine } from "./engine-conformance.js";
import { talkToVllm } from "./support/conversations.js";
import { converse } from "./support/converse.js";
import { describeProofs } from "./support/prove-for-real.js";
import { type TrainedAdapter, trainAdapters } from "./support/trained-adapters.js";

let root: string;
let vllm: LocalVllm;
let adapters: TrainedAdapter[];
let endpoint: { url: string; token?: string };

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "clara-vllm-"));
  vllm = new LocalVllm({ model: tinyBaseModel(), environment: await installRuntime({ engine: "vllm" }) });
  // its imports take their time: the adapters are trained meanwhile
  const starting = vllm.resolve();
  adapters = await trainAdapters(["first", "second"], await installRuntime(), root);
  endpoint = await starting;
}, 900_000);

afterAll(async () => {
  await vllm.close();
  await rm(root, { recursive: true, force: true });
});

describe("vLLM", () => {
  it("says in a conversation what it said when it was recorded", async () => {
    const paths = { adapterPath: adapters[0]!.path, emptyPath: join(root, "nothing"), brokenPath: join(root, "broken") };
    await cp(paths.adapterPath, paths.brokenPath, { recursive: true });
    await truncate(join(paths.brokenPath, "adapter_model.safetensors"), 100_000);
    const names = [
      [paths.adapterPath, "ADAPTER_PATH"],
      [paths.emptyPath, "EMPTY_PATH"],
      [paths.brokenPath, "BROKEN_PATH"],
    ] as const;
    await expect(await converse({ ...endpoint, names }, talkToVllm(paths))).toMatchFileSnapshot("vllm-conversation.json");
  });

  it("shares cached prefixes within a tenant only (A48)", async () => {
    await using serving = new ServingClient({ engine: "vllm", endpoints: [vllm], maxTokens: 1 });
    const prompt = Array.from({ length: 50 }, (_, index) => `Fact ${index}.`).join(" ");
    const hits = async () => {
      const text = await (await fetch(`${endpoint.url}/metrics`, { headers: { authorization: `Bearer ${endpoint.token}` } })).text();
      return Number(/^vllm:prefix_cache_hits_total\S* (\S+)/m.exec(text)?.[1]);
    };
    const gained: number[] = [];
    for (const tenant of ["ulm", "ulm", "bonn", undefined, undefined]) {
      const before = await hits();
      await serving.generate({ prompt, adapterId: null, metadata: tenant === undefined ? {} : { tenant } });
      gained.push((await hits()) - before);
    }
    const again = expect.toSatisfy((count: number) => count > 0);
    expect(gained).toEqual([0, again, 0, 0, again]);
  });
});

describeEngine("vLLM", async () => ({
  ...endpoint,
  engine: "vllm",
  baseModel: "base",
  adapters: adapters.map(({ id, path }) => ({ id, path })),
  [Symbol.asyncDispose]: async () => undefined,
}));

describeProofs("vLLM", () => ({ provider: vllm, engine: "vllm", adapters, kill: () => process.kill(-vllm.pid!, "SIGKILL") }), 20);
