import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { RemoteRuntime } from "../../src/runtime/index.js";
import { openStore, type Store } from "../../src/store/index.js";
import { type StandInTrainer, startStandInTrainer } from "../../src/testing/index.js";
import { RuntimeBackend, TrainingClient } from "../../src/training/index.js";
import type { TrainResult } from "../../src/types/runtime-protocol.js";
import { createHarness, runTs, type TsProcess } from "../setup/index.js";
import { datasetsOf, officeItems } from "./support/datasets.js";
import { scriptedResult } from "./support/scripted-backend.js";
import { collect, until } from "./support/until.js";

/** What the stand-in plays: steps until the test lets the job end. */
const gates = new Map<string, { promise: Promise<void>; resolve: () => void }>();
const gate = (jobId: string) => {
  let found = gates.get(jobId);
  if (found === undefined) {
    let resolve = () => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    found = { promise, resolve };
    gates.set(jobId, found);
  }
  return found;
};

describe("worker processes on one PostgreSQL", () => {
  const harness = createHarness("postgres");
  let url: string;
  let store: Store;
  let trainer: StandInTrainer;
  let training: TrainingClient;
  let workers: TsProcess[] = [];
  let running = 0;
  let mostRunning = 0;

  const startWorker = async () => {
    const worker = runTs(new URL("./support/worker.ts", import.meta.url), [url, trainer.url]);
    workers.push(worker);
    await worker.waitFor("ready");
    return worker;
  };

  beforeAll(async () => {
    url = (await harness.database()) as string;
    store = await openStore({ database: url });
    trainer = await startStandInTrainer({
      script: async function* play(spec, { signal }) {
        running += 1;
        mostRunning = Math.max(mostRunning, running);
        try {
          yield { type: "phase", phase: "train" };
          for (let step = 1; step <= 5; step += 1) {
            yield { type: "metrics", step, loss: 1 / step, learning_rate: 0.1, grad_norm: null, tokens_per_second: null };
          }
          const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
          await Promise.race([gate(spec.job_id).promise, aborted]);
        } finally {
          running -= 1;
        }
        for (let step = 6; step <= 8; step += 1) {
          yield { type: "metrics", step, loss: 1 / step, learning_rate: 0.1, grad_norm: null, tokens_per_second: null };
        }
        yield { type: "result", result: scriptedResult(spec) as TrainResult };
      },
    });
    training = new TrainingClient({ store, backend: null, datasets: datasetsOf({ office: officeItems() }), baseModel: "base" });
  });

  afterEach(async () => {
    for (const worker of workers) worker.child.kill("SIGKILL");
    for (const worker of workers) await worker.ended;
    workers = [];
    await store.pool.query("delete from clara.training_jobs");
    await store.pool.query("delete from clara_queue.job");
  });

  afterAll(async () => {
    await training.close();
    await trainer.close();
    await store.close();
    await harness.reset();
  });

  it("never run more than two jobs at once, however many there are", { timeout: 120_000 }, async () => {
    await Promise.all([startWorker(), startWorker(), startWorker()]);
    const jobs = await Promise.all(
      Array.from({ length: 9 }, (_, index) => training.createJob({ datasetId: "office", configName: `limit-${index}` })),
    );
    mostRunning = 0;
    const open = async () => {
      const [first] = await until("a running job", async () => {
        const found = await training.listJobs({ status: "running" });
        return found.length === 0 ? null : found;
      });
      // time for a third to begin, if one could
      await delay(150);
      gate(first!.id).resolve();
      await training.waitFor(first!.id);
    };
    for (const _ of jobs) await open();
    expect(await training.countJobs({ status: "completed" })).toBe(9);
    expect(mostRunning).toBe(2);
  });

  it("hear of a cancel in another process within two seconds", { timeout: 60_000 }, async () => {
    await startWorker();
    const { id } = await training.createJob({ datasetId: "office", configName: "far" });
    await until("the trainer's job", () => trainer.job(id)?.status === "running");
    const began = performance.now();
    const cancelled = training.cancelJob(id);
    await until("the trainer's end", () => trainer.job(id)?.status === "cancelled");
    expect(performance.now() - began).toBeLessThan(2000);
    expect((await cancelled).status).toBe("cancelled");
  });

  it("take over from one that was killed: the same trainer's job goes on, and no event is lost or told twice", {
    timeout: 90_000,
  }, async () => {
    const first = await startWorker();
    const { id } = await training.createJob({ datasetId: "office", configName: "orphan" });
    const events = collect(training.watch(id));
    await until("five steps", async () => (await training.getJob(id)).metrics.loss === 1 / 5);
    first.child.kill("SIGKILL");
    await first.ended;
    await startWorker();
    await until("the take-over", async () => (await training.getJob(id)).attempt === 2, 40_000);
    gate(id).resolve();
    const done = await training.waitFor(id);
    expect(done).toMatchObject({ status: "completed", attempt: 2 });
    const all = await events;
    expect(all.map((event) => event.sequence)).toEqual(all.map((_, index) => index + 1));
    expect(all.flatMap((event) => (event.type === "metrics_update" ? [event.step] : []))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(trainer.specs.filter((spec) => spec.job_id === id)).toHaveLength(1);
  });

  it("let a job of a killed worker be cancelled, also when no other worker lives", { timeout: 90_000 }, async () => {
    const first = await startWorker();
    const { id } = await training.createJob({ datasetId: "office", configName: "stranded" });
    await until("the trainer's job", () => trainer.job(id)?.status === "running");
    first.child.kill("SIGKILL");
    await first.ended;
    await using backend = new RuntimeBackend(new RemoteRuntime({ url: trainer.url }));
    await using other = new TrainingClient({ store, backend, datasets: datasetsOf({}), baseModel: "base" });
    await until("the cancel", async () => (await other.cancelJob(id)).status === "cancelled", 40_000);
    expect(trainer.job(id)?.status).toBe("cancelled");
  });

  it("fail a job whose workers die every time, instead of for ever", { timeout: 60_000 }, async () => {
    const { id } = await training.createJob({ datasetId: "office", configName: "poison" });
    await store.pool.query("update clara.training_jobs set status = 'running', lost_workers = 5, claim_token = 'gone' where id = $1", [id]);
    await startWorker();
    expect(await training.waitFor(id)).toMatchObject({ status: "failed", error: { message: expect.stringContaining("workers died") } });
  });
});
