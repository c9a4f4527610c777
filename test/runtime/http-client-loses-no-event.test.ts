import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { RemoteRuntime, RuntimeHttpClient } from "../../src/runtime/index.js";
import { jobScript, type StandInTrainer, startStandInTrainer } from "../../src/testing/index.js";
import type { TrainResult, TrainSpec } from "../../src/types/runtime-protocol.js";
import { scriptedResult } from "../training/support/scripted-backend.js";
import { collect } from "../training/support/until.js";

const spec: TrainSpec = {
  protocol: 1,
  kind: "train",
  job_id: "job-1",
  trainer: "lora",
  base_model: "base",
  adapter_name: "office@v1",
  seed: 1,
  train_path: "datasets/job-1/train.jsonl",
  lora: { r: 16, alpha: 32, dropout: 0.1, target_modules: "all-linear" },
  settings: {
    learning_rate: 1e-3,
    epochs: 1,
    batch_size: 1,
    gradient_accumulation_steps: 1,
    max_length: 64,
    warmup_steps: 0,
    scheduler: "cosine",
    weight_decay: 0,
    max_grad_norm: 1,
    augment_share: 0,
    replay_per_epoch: 0,
  },
  checkpoint: { every_steps: 100, keep: 1 },
  hardware: { precision: "auto", gradient_checkpointing: false },
};

describe("the client of the runtime's HTTP API", () => {
  let trainer: StandInTrainer | null = null;
  let client: RuntimeHttpClient | null = null;

  const start = async (options: Partial<Parameters<typeof startStandInTrainer>[0]> = {}) => {
    trainer = await startStandInTrainer({
      script: jobScript({ result: scriptedResult(spec) as TrainResult, steps: 20, intervalMs: 2 }),
      ...options,
    });
    client = new RuntimeHttpClient(new RemoteRuntime({ url: trainer.url, token: options.token ?? "" }), { reconnectLimitMs: 500 });
    return { trainer, client };
  };

  afterEach(async () => {
    await client?.close();
    await trainer?.close();
  });

  it("gives each event once and in order, however often the stream breaks", async () => {
    const { trainer, client } = await start();
    await client.createJob(spec);
    trainer.setFault({ kind: "drop-events", afterEvents: 7 });
    const events = await collect(client.events(spec.job_id));
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(events.filter(({ type }) => type === "metrics")).toHaveLength(20);
    expect(events.at(-1)!.type).toBe("result");
    const asked = trainer.requests.filter(({ path }) => path.endsWith("/events"));
    expect(asked.length).toBeGreaterThan(4);
  });

  it("goes on after an event that was read before", async () => {
    const { client } = await start();
    await client.createJob(spec);
    const all = await collect(client.events(spec.job_id));
    expect((await collect(client.events(spec.job_id, { after: 30 }))).map(({ seq }) => seq)).toEqual(all.slice(30).map(({ seq }) => seq));
  });

  it("finds the same job when it is posted again", async () => {
    const { client } = await start();
    expect((await client.createJob(spec)).created).toBe(true);
    expect(await client.createJob(spec)).toMatchObject({ created: false, job: { job_id: spec.job_id } });
  });

  it("sends files with their hash, and the path as it is", async () => {
    const { trainer, client } = await start();
    async function* lines() {
      yield '{"a":"ä"}\n';
      yield '{"b":1}\n';
    }
    await client.putFile("datasets/job 1/träin.jsonl", lines());
    expect(trainer.files.get("datasets/job 1/träin.jsonl")).toBe('{"a":"ä"}\n{"b":1}\n');
    await client.deleteFile("datasets/job 1/träin.jsonl");
    await client.deleteFile("datasets/job 1/träin.jsonl");
    expect(trainer.files.size).toBe(0);
  });

  it("says that the token is wrong, and does not call that an absent runtime", async () => {
    const { trainer } = await start({ token: "right" });
    await using wrong = new RuntimeHttpClient(new RemoteRuntime({ url: trainer.url, token: "wrong" }));
    await expect(wrong.capabilities()).rejects.toMatchObject({
      code: "config_invalid",
      isRetryable: false,
      message: expect.stringContaining("token"),
    });
  });

  it("says what to start where nothing listens", async () => {
    const { trainer, client } = await start();
    await trainer.close();
    await expect(client.capabilities()).rejects.toMatchObject({
      code: "runtime_unavailable",
      isRetryable: true,
      message: expect.stringMatching(/nothing listens there.*Start it/),
    });
    await expect(collect(client.events("job-1"))).rejects.toMatchObject({ code: "runtime_unavailable" });
  });

  it("names an unknown job", async () => {
    const { client } = await start();
    await expect(client.getJob("nowhere")).rejects.toMatchObject({ code: "job_not_found", details: { id: "nowhere" } });
  });

  it("refuses a runtime of another version, and one that is none", async () => {
    const { client } = await start({ capabilities: { protocol: 2 as never } });
    await expect(client.capabilities()).rejects.toMatchObject({
      code: "runtime_protocol_mismatch",
      message: expect.stringContaining("protocol 2"),
    });
    const other = createServer((_, response) => response.end("<html>hello</html>"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    await using stranger = new RuntimeHttpClient(new RemoteRuntime({ url: `http://127.0.0.1:${(other.address() as AddressInfo).port}` }));
    await expect(stranger.capabilities()).rejects.toMatchObject({ code: "runtime_protocol_mismatch" });
    other.close();
  });

  it("lets go of the connection when it is aborted", async () => {
    const { trainer, client } = await start();
    trainer.setFault({ kind: "never-ends" });
    await client.createJob({ ...spec, job_id: "long" });
    const controller = new AbortController();
    const reading = collect(client.events("long", { signal: controller.signal }));
    while (!trainer.requests.some(({ path, state }) => path === "/v1/jobs/long/events" && state === "open"))
      await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort();
    await expect(reading).rejects.toMatchObject({ code: "aborted" });
    while (!trainer.requests.some(({ path, state }) => path === "/v1/jobs/long/events" && state === "aborted"))
      await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it("refuses a URL that is none", () => {
    expect(() => new RemoteRuntime({ url: "gpu:45680" })).toThrow(/write it like http/);
  });
});
