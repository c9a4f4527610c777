import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { RemoteRuntime } from "../../src/runtime/index.js";
import { failingScript, jobScript, type StandInTrainer, startStandInTrainer, type TrainerScript } from "../../src/testing/index.js";
import { buildTrainSpec } from "../../src/training/build-spec.js";
import { DETACH, RuntimeBackend } from "../../src/training/index.js";
import type { RuntimeEvent, TrainResult } from "../../src/types/runtime-protocol.js";
import { datasetsOf, officeItems } from "./support/datasets.js";
import { scriptedResult } from "./support/scripted-backend.js";
import { until } from "./support/until.js";

const request = {
  jobId: "job-1",
  datasetId: "office",
  trainer: "lora",
  adapterName: "office@v1",
  baseModel: "base",
  overrides: {},
} as const;
const { spec, files } = await buildTrainSpec(request, datasetsOf({ office: officeItems() }));
const steps = jobScript({ result: scriptedResult(spec) as TrainResult, steps: 10, intervalMs: 10 });

describe("the runtime back end", () => {
  let trainer: StandInTrainer;
  let backend: RuntimeBackend;
  let events: RuntimeEvent[] = [];

  const start = async (script: TrainerScript, port?: number) => {
    trainer = await startStandInTrainer({ script, ...(port === undefined ? {} : { port }) });
    backend = new RuntimeBackend(new RemoteRuntime({ url: trainer.url }), { reconnectLimitMs: 500 });
    events = [];
  };
  const run = (options: { signal?: AbortSignal; resumeAfter?: number } = {}) =>
    backend.run(spec, files, {
      signal: options.signal ?? new AbortController().signal,
      onEvent: (event) => events.push(event),
      resumeAfter: options.resumeAfter,
    });

  afterEach(async () => {
    await backend.close();
    await trainer.close();
  });

  it("gives the result and every event once, through a stream that breaks, and takes its files away again", async () => {
    await start(steps);
    trainer.setFault({ kind: "drop-events", afterEvents: 3 });
    const result = await run();
    expect(result).toEqual(scriptedResult(spec));
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(trainer.requests.filter(({ method, path }) => method === "PUT" && path.startsWith("/v1/files/")).length).toBe(files.length);
    expect(trainer.files.size).toBe(0);
  });

  it.each([
    ["out_of_memory", "out_of_memory", true],
    ["disk_full", "disk_full", true],
    ["base_model_invalid", "base_model_invalid", false],
    ["adapter_invalid", "adapter_invalid", false],
    ["path_outside_root", "path_outside_root", false],
    ["data_invalid", "training_failed", false],
    ["internal", "training_failed", true],
  ] as const)("says %s as %s", async (runtimeCode, code, isRetryable) => {
    await start(failingScript(runtimeCode, "why it failed", isRetryable));
    await expect(run()).rejects.toMatchObject({
      code,
      isRetryable,
      details: { jobId: "job-1", runtimeCode },
      message: expect.stringContaining("why it failed"),
    });
  });

  it("begins a failed job again under the same id, and tells only what is new", async () => {
    let tries = 0;
    await start((given, context) => {
      tries += 1;
      return tries === 1 ? failingScript("internal", "killed", true)(given, context) : steps(given, context);
    });
    await expect(run()).rejects.toMatchObject({ code: "training_failed" });
    const before = events.length;
    expect(await run({ resumeAfter: before })).toEqual(scriptedResult(spec));
    expect(tries).toBe(2);
    expect(events.slice(before).map(({ seq }) => seq)).toEqual(events.slice(before).map((_, index) => before + index + 1));
    expect(events.slice(before).some(({ type }) => type === "error")).toBe(false);
  });

  it("lets go without stopping the job, and finds it again where it left it", async () => {
    await start(steps);
    const controller = new AbortController();
    const first = run({ signal: controller.signal });
    await until("some events", () => events.length >= 5);
    controller.abort(DETACH);
    await expect(first).rejects.toMatchObject({ code: "aborted" });
    expect(trainer.job("job-1")?.status).toBe("running");
    const seen = events.at(-1)!.seq;
    expect(await run({ resumeAfter: seen })).toEqual(scriptedResult(spec));
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(trainer.specs).toHaveLength(1);
  });

  it("stops the job when it is aborted, before it answers", async () => {
    await start(steps);
    trainer.setFault({ kind: "never-ends" });
    const controller = new AbortController();
    const running = run({ signal: controller.signal });
    await until("the job", () => trainer.job("job-1")?.status === "running");
    controller.abort(new Error("cancel"));
    await expect(running).rejects.toMatchObject({ code: "aborted" });
    expect(trainer.job("job-1")?.status).toBe("cancelled");
  });

  it("begins anew in a runtime that has forgotten the job", async () => {
    await start(steps);
    const { port } = trainer;
    const running = run();
    await until("some events", () => events.length >= 3);
    await trainer.close();
    await delay(50);
    trainer = await startStandInTrainer({ script: steps, port });
    expect(await running).toEqual(scriptedResult(spec));
    expect(trainer.specs).toHaveLength(1);
  });

  it("calls a runtime that stays away unavailable, so that the job waits", async () => {
    await start(steps);
    trainer.setFault({ kind: "unreachable" });
    await expect(run()).rejects.toMatchObject({ code: "runtime_unavailable", isRetryable: true });
    trainer.setFault(null);
    const running = run();
    await until("some events", () => events.length >= 3);
    trainer.setFault({ kind: "unreachable" });
    trainer.dropConnections();
    await expect(running).rejects.toMatchObject({ code: "runtime_unavailable" });
  });
});
