import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ClaraError, RuntimeUnavailableError } from "../../src/errors.js";
import type { Store } from "../../src/store/index.js";
import { TrainingClient } from "../../src/training/index.js";
import { canFollow, TRANSITIONS } from "../../src/training/job-state.js";
import { nextStep, type RunEnd } from "../../src/training/next-step.js";
import { JobStatus } from "../../src/types/job.js";
import { describeEachStore } from "../setup/index.js";
import { datasetsOf, officeItems } from "./support/datasets.js";
import { runtimeFailure, ScriptedBackend, type ScriptedRun } from "./support/scripted-backend.js";
import { collect, until } from "./support/until.js";

const limits = { maxRetries: 2, jobTimeoutMinutes: 120 };
const anyEnd: fc.Arbitrary<RunEnd> = fc.oneof(
  fc.constantFrom("cancel", "pause", "timeout", "shutdown", "lost").map((reason) => ({ kind: "stopped", reason }) as RunEnd),
  fc
    .constantFrom(
      runtimeFailure("out_of_memory", true),
      runtimeFailure("base_model_invalid", false),
      new RuntimeUnavailableError("runtime_unavailable", "gone"),
      new Error("odd"),
      "text",
      null,
    )
    .map((error) => ({ kind: "error", error }) as RunEnd),
  fc.constant({ kind: "result", result: {} } as RunEnd),
);
const anyCounters = fc.record({
  failures: fc.nat(5),
  waits: fc.nat(1000),
  request: fc.constantFrom(null, "cancel" as const, "pause" as const),
});

describe("how a run's end is judged", () => {
  it("always names a next step, and what was asked of the job is obeyed unless it completed", () => {
    fc.assert(
      fc.property(anyEnd, anyCounters, (end, counters) => {
        const step = nextStep(end, counters, limits, "job-1");
        const isLost = end.kind === "stopped" && end.reason === "lost";
        expect(step.kind === "leave").toBe(isLost);
        if (end.kind === "result") expect(step.kind).toBe("complete");
        else if (!isLost && counters.request !== null && !(end.kind === "stopped" && end.reason === "cancel"))
          expect(step.kind).toBe(counters.request);
        if (step.kind === "requeue") expect(step.delaySeconds).toBeLessThanOrEqual(30);
        if (step.kind === "fail") expect(ClaraError.isInstance(step.error)).toBe(true);
      }),
    );
  });

  it("ends in a failure when the same failure comes again and again, and never while only the runtime is away", () => {
    const failing: RunEnd = { kind: "error", error: runtimeFailure("out_of_memory", true) };
    expect(nextStep(failing, { failures: 2, waits: 0, request: null }, limits, "job-1").kind).toBe("fail");
    const away: RunEnd = { kind: "error", error: new RuntimeUnavailableError("runtime_unavailable", "gone") };
    fc.assert(
      fc.property(fc.nat(), (waits) => {
        expect(nextStep(away, { failures: 9, waits, request: null }, limits, "job-1").kind).toBe("requeue");
      }),
    );
  });

  it("knows no status that leads nowhere but the completed one", () => {
    for (const status of JobStatus.options) expect(TRANSITIONS[status].length === 0).toBe(status === "completed");
  });
});

/** What may happen to a job, in any order. */
const anyAction = fc.constantFrom(
  // three times, so that a run has often begun by the next action
  "wait",
  "wait",
  "wait",
  "cancel",
  "pause",
  "resume",
  "retry",
  "complete",
  "fail",
  "unavailable",
  "emit",
  "stopWorker",
  "startWorker",
  "loseClaim",
);

describeEachStore("a job that anything may happen to, in any order,", (harness) => {
  let store: Store;

  beforeAll(async () => {
    store = await harness.open();
  });

  afterAll(() => store.close());

  it("moves only along its state machine, and ends when it is let", { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyAction, { minLength: 1, maxLength: 14 }), async (actions) => {
        const backend = new ScriptedBackend();
        const training = new TrainingClient({
          store,
          backend,
          datasets: datasetsOf({ office: officeItems() }),
          baseModel: "base",
          defaults: { maxRetries: 1 },
        });
        try {
          await training.startWorker();
          const { id } = await training.createJob({ datasetId: "office", configName: "any" });
          for (const action of actions) await act(action, { training, backend, id });
          await training.startWorker();
          backend.onRun = (run) => run.complete();
          for (const run of backend.runs) run.complete();
          const status = (await training.getJob(id)).status;
          if (status === "paused") await training.resumeJob(id).catch(onlyConflicts);
          const done = await until("the end", async () => {
            const now = await training.getJob(id);
            if (now.status === "paused") await training.resumeJob(id).catch(onlyConflicts);
            return ["completed", "failed", "cancelled"].includes(now.status) ? now : null;
          });
          expect(done.completedAt).not.toBeNull();
          const statuses = (await collect(training.watch(id))).flatMap((event) => (event.type === "job_update" ? [event.status] : []));
          for (const [index, next] of statuses.entries()) {
            const before = statuses[index - 1];
            if (before !== undefined && before !== next) expect(canFollow(before, next), `${before} → ${next}`).toBe(true);
          }
          const { rows } = await store.pool.query("select 1 from clara_queue.job where state in ('created', 'retry', 'active')");
          expect(rows).toHaveLength(0);
        } finally {
          await training.close();
          await store.pool.query("delete from clara.training_jobs");
        }
      }),
      { numRuns: 25, endOnFailure: true },
    );
  });

  async function act(action: string, parts: { training: TrainingClient; backend: ScriptedBackend; id: string }): Promise<void> {
    const { training, backend, id } = parts;
    const running: ScriptedRun | undefined = backend.active > 0 ? backend.runs.at(-1) : undefined;
    switch (action) {
      case "wait": {
        const { status } = await training.getJob(id);
        const runs = backend.runs.length;
        if (status === "queued") await until("a run", () => backend.runs.length > runs, 400).catch(() => {});
        return;
      }
      case "cancel":
        return void (await training.cancelJob(id).catch(onlyConflicts));
      case "pause":
        return void (await training.pauseJob(id).catch(onlyConflicts));
      case "resume":
        return void (await training.resumeJob(id).catch(onlyConflicts));
      case "retry":
        return void (await training.retryJob(id).catch(onlyConflicts));
      case "complete":
        return running?.complete();
      case "fail":
        return running?.fail(runtimeFailure("out_of_memory", true));
      case "unavailable":
        return running?.fail(new RuntimeUnavailableError("runtime_unavailable", "gone"));
      case "emit":
        return running?.emit({ type: "log", level: "info", message: "still here" });
      case "stopWorker":
        return training.stopWorker();
      case "startWorker":
        return training.startWorker();
      case "loseClaim":
        // as after a heartbeat that came too late: the message goes to somebody else
        await store.pool.query("update clara_queue.job set heartbeat_on = now() - interval '1 minute' where state = 'active'");
    }
  }
});

function onlyConflicts(error: unknown): void {
  if (!ClaraError.isInstance(error) || error.code !== "job_state_conflict") throw error;
}
