import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { RuntimeUnavailableError } from "../../src/errors.js";
import type { Store } from "../../src/store/index.js";
import { TrainingClient } from "../../src/training/index.js";
import type { JobInput } from "../../src/types/job.js";
import { describeEachStore } from "../setup/index.js";
import { datasetItem, datasetsOf, officeItems } from "./support/datasets.js";
import { runtimeFailure, ScriptedBackend } from "./support/scripted-backend.js";
import { collect, until } from "./support/until.js";

describeEachStore("a training job", (harness) => {
  let store: Store;
  let backend: ScriptedBackend;
  let training: TrainingClient;
  const job: JobInput = { datasetId: "office", configName: "office" };

  beforeAll(async () => {
    store = await harness.open();
  });

  beforeEach(async () => {
    backend = new ScriptedBackend();
    training = new TrainingClient({
      store,
      backend,
      datasets: datasetsOf({ office: officeItems(), empty: [], one: [datasetItem("a", "Where?", "Here.")] }),
      baseModel: "base",
      defaults: { maxRetries: 2 },
    });
    await training.startWorker();
  });

  afterEach(async () => {
    await training.close();
    // what a test left must not run in the next
    await store.pool.query("delete from clara.training_jobs where status in ('queued', 'running', 'paused')");
  });

  afterAll(() => store.close());

  it("is queued, runs and completes, and its events tell the whole of it once and in order", async () => {
    const created = await training.createJob({ ...job, createdBy: "ada" });
    expect(created).toMatchObject({
      status: "queued",
      configName: "office",
      trainer: "lora",
      priority: 1,
      createdBy: "ada",
      progressPercent: 0,
    });
    const watching = collect(training.watch(created.id));
    const run = await backend.nextRun();
    expect((await training.getJob(created.id)).status).toBe("running");
    run.emit({ type: "phase", phase: "train" });
    for (let step = 1; step <= 50; step += 1) {
      run.emit({ type: "progress", step, total_steps: 50, epoch: step / 25, total_epochs: 2, eta_seconds: 50 - step });
      run.emit({ type: "metrics", step, loss: 2 / step, learning_rate: 0.001, grad_norm: 1, tokens_per_second: 100 });
    }
    run.complete();
    const events = await watching;
    expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
    expect(events.filter((event) => event.type === "metrics_update").map((event) => event.step)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    expect(events.at(-1)).toMatchObject({ type: "job_update", status: "completed", progressPercent: 100 });
    const progress = events.filter((event) => event.type === "job_update").map((event) => event.progressPercent);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    const done = await training.getJob(created.id);
    expect(done).toMatchObject({
      status: "completed",
      step: 50,
      totalSteps: 50,
      attempt: 1,
      adapterPath: `/runtime/adapters/${created.adapterName}`,
    });
    expect(done.metrics.perplexity).toBeCloseTo(Math.exp(2 / 50));
    const later = await collect(training.watch(created.id, { after: 40 }));
    expect(later.map((event) => event.sequence)).toEqual(events.slice(40).map((event) => event.sequence));
  });

  it("reaches a watcher in the same process in less than 100 ms", async () => {
    const { id } = await training.createJob(job);
    const run = await backend.nextRun();
    const seen: number[] = [];
    const watching = (async () => {
      for await (const event of training.watch(id)) if (event.type === "log") seen.push(performance.now() - Number(event.message));
    })();
    await until("the worker's first status", async () => (await training.getJob(id)).status === "running");
    for (let index = 0; index < 20; index += 1) {
      const before = seen.length;
      run.emit({ type: "log", level: "info", message: String(performance.now()) });
      await until("the event", () => seen.length > before);
    }
    run.complete();
    await watching;
    const median = seen.sort((a, b) => a - b)[Math.floor(seen.length / 2)];
    expect(median).toBeLessThan(100);
  });

  it("is refused before it waits when it cannot work", async () => {
    await expect(training.createJob({ ...job, configName: "No Good" })).rejects.toMatchObject({
      code: "input_invalid",
      details: { field: "configName" },
    });
    await expect(training.createJob({ ...job, configName: "-dash" })).rejects.toMatchObject({ code: "input_invalid" });
    await expect(training.createJob({ ...job, priority: 6 })).rejects.toMatchObject({
      code: "input_invalid",
      details: { field: "priority" },
    });
    await expect(training.createJob({ ...job, datasetId: "nowhere" })).rejects.toMatchObject({
      code: "dataset_not_found",
      message: expect.stringContaining("nowhere"),
    });
    await expect(training.createJob({ ...job, datasetId: "empty" })).rejects.toMatchObject({ code: "dataset_empty" });
    await expect(training.createJob({ ...job, datasetId: "one" })).rejects.toMatchObject({ code: "dataset_too_small" });
    await expect(training.createJob({ ...job, trainer: "preference" })).rejects.toMatchObject({ code: "capability_missing" });
    await expect(training.createJob({ ...job, trainer: "continuous" })).rejects.toMatchObject({
      code: "input_invalid",
      details: { field: "initAdapterPath" },
    });
    await expect(training.getJob("unknown")).rejects.toMatchObject({ code: "job_not_found", details: { id: "unknown" } });
    await expect(collect(training.watch("unknown"))).rejects.toMatchObject({ code: "job_not_found" });
    expect(backend.runs).toHaveLength(0);
  });

  it("hands the trainer every row that it was given: the data set's, those rehearsed, those replayed and those tested on", async () => {
    const pair = (name: string) => ({ prompt: `${name}?`, response: `${name}.` });
    await training.createJob({
      ...job,
      rehearsal: [pair("rehearsed")],
      replay: [pair("replayed")],
      regression: [{ name: "general", items: [pair("tested")] }],
      baselineAdapterPath: null,
    });
    const { files } = await backend.nextRun();
    const holding = (name: string) => [...files].filter(([, text]) => text.includes(`"${name}.`)).map(([path]) => path.split("/").at(-1));
    expect(holding("rehearsed")).toEqual(["train.jsonl"]);
    expect(holding("replayed")).toEqual(["replay.jsonl"]);
    expect(holding("tested")).toHaveLength(1);
  });

  it("keeps its figures and no word that people wrote, once their texts are erased", async () => {
    const pair = { prompt: "Where does Mrs Okonkwo live?", response: "Above the bakery." };
    const { id } = await training.createJob({
      ...job,
      rehearsal: [pair],
      replay: [pair],
      regression: [{ name: "x", items: [pair] }],
      probes: [{ name: "probes", items: [{ id: "p:0", ...pair }] }],
    });
    (await backend.nextRun()).complete();
    const { result } = await training.waitFor(id);
    const row = async () => JSON.stringify(await store.db.selectFrom("training_jobs").selectAll().where("id", "=", id).executeTakeFirst());
    expect(await row()).toContain("Okonkwo");
    expect(await training.eraseTexts([id, "unknown"])).toBe(1);
    expect(await row()).not.toMatch(/Okonkwo|bakery/);
    expect((await training.getJob(id)).result).toEqual({ ...result, fingerprint: undefined });
  });

  it("is the same one for the same idempotency key, also when asked for at the same time", async () => {
    const asked = Array.from({ length: 6 }, () => training.createJob({ ...job, configName: "keyed", idempotencyKey: "cycle-1" }));
    const jobs = await Promise.all(asked);
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    expect(await training.countJobs({ configName: "keyed" })).toBe(1);
  });

  it("gets the next version of its configuration's name, also when many are created at once", async () => {
    const jobs = await Promise.all(Array.from({ length: 8 }, () => training.createJob({ ...job, configName: "many" })));
    expect(jobs.map(({ adapterName }) => adapterName).sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((version) => `many@v${version}`));
  });

  it("runs beside at most one other, the highest priority first", async () => {
    await training.stopWorker();
    for (const priority of [1, 3, 5, 2, 4]) await training.createJob({ ...job, configName: `p${priority}`, priority });
    await training.startWorker();
    const order: string[] = [];
    for (let index = 0; index < 5; index += 1) {
      const run = await backend.nextRun();
      if (run.spec.kind === "train") order.push(run.spec.adapter_name.slice(0, 2));
      // a second one is running by now; only then may the first end
      if (index % 2 === 1) for (const begun of backend.runs) begun.complete();
    }
    for (const begun of backend.runs) begun.complete();
    expect(order).toEqual(["p5", "p4", "p3", "p2", "p1"]);
    expect(backend.mostActive).toBe(2);
  });

  it("is cancelled at once while it waits", async () => {
    await training.stopWorker();
    const { id } = await training.createJob(job);
    expect((await training.cancelJob(id)).status).toBe("cancelled");
    await training.startWorker();
    const other = await training.createJob({ ...job, configName: "other" });
    const run = await backend.nextRun();
    expect(run.spec.job_id).toBe(other.id);
    run.complete();
  });

  it("tells its trainer to stop within two seconds of being cancelled, and can be retried", async () => {
    const { id } = await training.createJob(job);
    const run = await backend.nextRun();
    const began = performance.now();
    const cancelled = await training.cancelJob(id);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(cancelled.status).toBe("cancelled");
    expect(run.stopReason).toBe("stop");
    await expect(training.pauseJob(id)).rejects.toMatchObject({ code: "job_state_conflict" });
    expect((await training.retryJob(id)).status).toBe("queued");
    (await backend.nextRun()).complete();
    const done = await training.waitFor(id);
    expect(done).toMatchObject({ status: "completed", attempt: 2 });
    await expect(training.retryJob(id)).rejects.toMatchObject({ code: "job_state_conflict" });
    await expect(training.cancelJob(id)).rejects.toMatchObject({ code: "job_state_conflict" });
  });

  it("is paused and goes on where it was", async () => {
    const { id } = await training.createJob(job);
    const run = await backend.nextRun();
    run.emit({ type: "checkpoint", step: 3, path: "checkpoint-3" });
    await until(
      "the checkpoint's event",
      async () =>
        (await store.db.selectFrom("training_jobs").select("runtime_sequence").where("id", "=", id).executeTakeFirst())
          ?.runtime_sequence === 1,
    );
    expect((await training.pauseJob(id)).status).toBe("paused");
    await expect(training.retryJob(id)).rejects.toMatchObject({ code: "job_state_conflict" });
    expect((await training.resumeJob(id)).status).toBe("queued");
    const resumed = await backend.nextRun();
    expect(resumed.resumeAfter).toBe(1);
    expect(resumed.spec).toEqual(run.spec);
    resumed.complete();
    expect((await training.waitFor(id)).status).toBe("completed");
  });

  it("is tried again after a failure that may pass, and fails with the last reason when that does not help", async () => {
    const { id } = await training.createJob(job);
    backend.onRun = (run) => run.fail(runtimeFailure("out_of_memory", true));
    const done = await training.waitFor(id);
    expect(done).toMatchObject({ status: "failed", attempt: 3, error: { code: "out_of_memory" } });
    expect(backend.runs).toHaveLength(3);
  });

  it("fails at once where trying again is no use", async () => {
    const { id } = await training.createJob(job);
    backend.onRun = (run) => run.fail(runtimeFailure("base_model_invalid", false));
    expect(await training.waitFor(id)).toMatchObject({ status: "failed", attempt: 1, error: { code: "base_model_invalid" } });
  });

  it("waits where no runtime answers, and runs when one does", async () => {
    const { id } = await training.createJob(job);
    let tries = 0;
    backend.onRun = (run) => {
      tries += 1;
      if (tries <= 2) run.fail(new RuntimeUnavailableError("runtime_unavailable", "nothing listens there"));
      else run.complete();
    };
    const events = collect(training.watch(id));
    expect(await training.waitFor(id)).toMatchObject({ status: "completed", attempt: 1 });
    expect((await events).some((event) => event.type === "log" && event.message.includes("waiting for the runtime"))).toBe(true);
  });

  it("is put back when its worker stops, and goes on with the next", async () => {
    const { id } = await training.createJob(job);
    const run = await backend.nextRun();
    await training.stopWorker();
    expect(run.stopReason).toBe("detach");
    expect((await training.getJob(id)).status).toBe("queued");
    await training.startWorker();
    (await backend.nextRun()).complete();
    expect((await training.waitFor(id)).status).toBe("completed");
  });

  it("is stopped when it takes longer than the limit", async () => {
    await training.close();
    training = new TrainingClient({
      store,
      backend,
      datasets: datasetsOf({ office: officeItems() }),
      baseModel: "base",
      defaults: { jobTimeoutMinutes: 0.5 / 60 },
    });
    await training.startWorker();
    const { id } = await training.createJob(job);
    const run = await backend.nextRun();
    expect(await training.waitFor(id)).toMatchObject({ status: "failed", error: { code: "training_timeout" } });
    expect(run.stopReason).toBe("stop");
  });

  it("is found by its fields, newest first, page by page", async () => {
    await training.stopWorker();
    const jobs = [];
    for (const configName of ["list-a", "list-b", "list-a"])
      jobs.push(await training.createJob({ ...job, configName, createdBy: "lister" }));
    const ids = jobs.map(({ id }) => id);
    expect((await training.listJobs({ createdBy: "lister" })).map(({ id }) => id)).toEqual([...ids].reverse());
    expect((await training.listJobs({ createdBy: "lister", configName: "list-a" })).map(({ id }) => id)).toEqual([ids[2], ids[0]]);
    expect((await training.listJobs({ createdBy: "lister", limit: 1, offset: 1 })).map(({ id }) => id)).toEqual([ids[1]]);
    expect(await training.countJobs({ createdBy: "lister", status: "queued" })).toBe(3);
    await expect(training.listJobs({ limit: 0 })).rejects.toMatchObject({ code: "input_invalid" });
  });

  it("leaves nothing behind when the caller's transaction is rolled back", async () => {
    const before = await training.countJobs();
    await expect(
      store.db.transaction().execute(async (transaction) => {
        await training.createJob({ ...job, configName: "undone" }, { transaction });
        throw new Error("undo");
      }),
    ).rejects.toThrow("undo");
    expect(await training.countJobs()).toBe(before);
    expect(await training.createJob({ ...job, configName: "undone" })).toMatchObject({ adapterName: "undone@v1" });
  });

  it("stops waiting when the caller's signal says so, and goes on itself", async () => {
    const { id } = await training.createJob(job);
    const run = await backend.nextRun();
    const controller = new AbortController();
    const waiting = training.waitFor(id, { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: "aborted" });
    run.complete();
    expect((await training.waitFor(id)).status).toBe("completed");
  });

  it("is forgotten with its events after the time that jobs are kept, but its version is not given again", async () => {
    const { id, adapterName } = await training.createJob({ ...job, configName: "old" });
    (await backend.nextRun()).complete();
    await training.waitFor(id);
    await training.stopWorker();
    await store.pool.query("update clara.training_jobs set completed_at = now() - interval '31 days' where id = $1", [id]);
    await training.startWorker();
    await until("the clean-up", async () => (await training.countJobs({ configName: "old" })) === 0);
    const { rows } = await store.pool.query("select 1 from clara.training_job_events where job_id = $1", [id]);
    expect(rows).toHaveLength(0);
    expect((await training.createJob({ ...job, configName: "old" })).adapterName).not.toBe(adapterName);
  });

  it("is queued again when its place in the queue is gone", async () => {
    await training.stopWorker();
    const { id } = await training.createJob(job);
    await store.pool.query("delete from clara_queue.job where name = 'training'");
    await store.pool.query("update clara.training_jobs set updated_at = now() - interval '1 minute' where id = $1", [id]);
    await training.startWorker();
    (await backend.nextRun()).complete();
    expect((await training.waitFor(id)).status).toBe("completed");
  });
});
