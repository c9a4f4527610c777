import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installRuntime, LocalRuntime, tinyBaseModel } from "../../src/runtime/index.js";
import type { Store } from "../../src/store/index.js";
import { LocalProcessBackend, RuntimeBackend, type TrainingBackend, TrainingClient } from "../../src/training/index.js";
import type { JobInput } from "../../src/types/job.js";
import { createHarness } from "../setup/index.js";
import { datasetsOf, officeItems } from "./support/datasets.js";
import { until } from "./support/until.js";

const env = { OMP_NUM_THREADS: "1" };
const job: JobInput = {
  datasetId: "office",
  configName: "office",
  // long enough to be hit in the middle, with a checkpoint every few steps
  overrides: { learningRate: 1e-3, epochs: 60, threads: 1, checkpointEverySteps: 10 },
};

/** The process of a job that a local process back end started: found by what stands on its command line. */
function trainerPid(jobId: string): number | null {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readFileSync(`/proc/${name}/cmdline`, "utf8").includes(`/jobs/${jobId}/spec.json`)) return Number(name);
    } catch {
      // it ended while we looked
    }
  }
  return null;
}

describe("a real training job survives", () => {
  const harness = createHarness("embedded");
  let store: Store;
  let root: string;
  const open: { close(): Promise<void> }[] = [];

  const client = async (backend: TrainingBackend) => {
    const training = new TrainingClient({ store, backend, datasets: datasetsOf({ office: officeItems() }), baseModel: tinyBaseModel() });
    open.push(training);
    await training.startWorker();
    return training;
  };
  const afterCheckpoint = (training: TrainingClient, id: string) =>
    until("a checkpoint and more", async () => (await training.getJob(id)).step > 12, 200_000);

  beforeAll(async () => {
    await installRuntime();
    store = await harness.open();
    root = await mkdtemp(join(tmpdir(), "clara-runtime-"));
  }, 600_000);

  afterAll(async () => {
    for (const part of open.reverse()) await part.close();
    await harness.reset();
    await rm(root, { recursive: true, force: true });
  });

  it.skipIf(process.platform !== "linux")("kill -9 of its trainer process", { timeout: 300_000 }, async () => {
    const training = await client(new LocalProcessBackend({ root: join(root, "process"), env }));
    const { id } = await training.createJob(job);
    await afterCheckpoint(training, id);
    process.kill(trainerPid(id)!, "SIGKILL");
    const done = await training.waitFor(id);
    expect(done.error).toBeNull();
    expect(done).toMatchObject({ status: "completed", attempt: 2, result: { resumed: true } });
    await training.close();
  });

  it("kill -9 of its trainer under the runtime, and then of the runtime itself", { timeout: 300_000 }, async () => {
    const folder = join(root, "runtime");
    const runtime = new LocalRuntime({ root: folder, models: [tinyBaseModel()], env });
    open.push(runtime);
    const training = await client(new RuntimeBackend(runtime));
    const { id } = await training.createJob({ ...job, configName: "under", overrides: { ...job.overrides, epochs: 120 } });
    await afterCheckpoint(training, id);
    const state = JSON.parse(await readFile(join(folder, "jobs", id, "state.json"), "utf8")) as { pid: number };
    process.kill(state.pid, "SIGKILL");
    await until(
      "the second attempt's steps",
      async () => {
        const now = await training.getJob(id);
        return now.attempt === 2 && now.status === "running" && now.phase === "train";
      },
      100_000,
    );
    process.kill(runtime.pid!, "SIGKILL");
    const done = await training.waitFor(id);
    expect(done.error).toBeNull();
    expect(done).toMatchObject({ status: "completed", result: { resumed: true } });
    expect(done.attempt).toBe(3);
    const { rows } = await store.pool.query("select sequence from clara.training_job_events where job_id = $1 order by sequence", [id]);
    expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map((_, index) => index + 1));
  });
});
