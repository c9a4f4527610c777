import { setTimeout as delay } from "node:timers/promises";
import { RuntimeUnavailableError, TrainingError } from "../../errors.js";
import type { TrainingJob } from "../../types/job.js";
import { adapterNameOf } from "../adapter-name.js";
import { CycleCancelled } from "../cycle-store.js";
import { earlierRecallSets, earlierTrainingItems } from "../earlier-learning.js";
import { generalSet } from "../general-set.js";
import { PROBE_SET, planProbes } from "../probes/plan-probes.js";
import { noteEarlier } from "../sample-ledger.js";
import { readBatch } from "./batch.js";
import type { Stage, StageContext } from "./stage.js";

const LOOK_MS = 1_000;

/**
 * Makes the training job and waits for it. The cycle's id is the job's idempotency key: a driver that takes over finds the same job, and a
 * runtime that is away holds the cycle up without losing it.
 */
export const train: Stage = async (context) => {
  const job = await untilEnded(context, await ensureJob(context));
  if (job.status === "completed") {
    const seconds = job.result?.seconds ?? {};
    return {
      next: "evaluate",
      detail: { jobId: job.id, adapterName: job.adapterName, attempt: job.attempt, seconds },
      patch: { adapter_id: job.adapterName },
    };
  }
  if (job.status === "cancelled") throw new CycleCancelled(`its training job ${job.id} was cancelled`);
  const message = `Training job ${job.id} failed: ${job.error?.message ?? "no reason was given"}`;
  if (job.error?.code === "runtime_unavailable")
    throw new RuntimeUnavailableError("runtime_unavailable", message, { details: { jobId: job.id } });
  throw new TrainingError("training_failed", message, { details: { jobId: job.id, runtimeCode: job.error?.code } });
};

async function ensureJob(context: StageContext): Promise<string> {
  const { cycle, state, options, router, training, signal } = context;
  if (cycle.job_id !== null) return cycle.job_id;
  const { domain } = cycle;
  const batch = await readBatch(context);
  const general = await generalSet(context, { signal });
  const earlier = await earlierTrainingItems(context, domain, batch, { signal });
  const recall = await earlierRecallSets(context, domain, { signal });
  await router.refresh?.({ signal });
  const serving = router.activeAdapter(domain);
  // kept from a first try: the job that may exist already was made against it
  const baseline = state.baseline ?? { adapterId: serving?.id ?? null, path: serving?.path ?? null };
  const plan = await planProbes(context, { general, earlier, recall });
  // there is nothing to go on from before a first adapter serves
  const isWarmStart = options.trainer === "continuous" && baseline.adapterId !== null && baseline.path !== null;
  const warmStart = isWarmStart ? { warmStartedFrom: baseline.adapterId as string } : {};
  await context.update({}, { baseline, replayed: earlier.length, probes: plan.probes, ...warmStart });
  const noted = {
    replay: earlier.flatMap((item) => item.sample.feedbackId ?? []),
    test: recall.flatMap((set) => set.items.map((item) => item.id)),
  };
  for (const role of ["replay", "test"] as const) {
    await noteEarlier(context.store.db, { pipeline: cycle.pipeline, cycleId: cycle.id, role, sampleIds: noted[role] });
  }
  await context.failpoint("train.noted");
  const job = await training.createJob(
    {
      datasetId: cycle.dataset_id as string,
      configName: adapterNameOf(domain),
      trainer: options.trainer === "continuous" && !isWarmStart ? "lora" : options.trainer,
      priority: options.priority,
      overrides: options.overrides,
      ...(isWarmStart ? { initAdapterPath: baseline.path as string } : {}),
      replay: [...general.replay],
      rehearsal: earlier.map(({ sample }) => ({ prompt: sample.prompt, response: sample.response })),
      regression: [...(general.holdout.length > 0 ? [{ name: "general", items: general.holdout }] : []), ...recall],
      probes: plan.items.length > 0 ? [{ name: PROBE_SET, items: plan.items }] : [],
      baselineAdapterPath: baseline.path,
      idempotencyKey: cycle.id,
      createdBy: `cycle:${cycle.id}`,
    },
    { signal },
  );
  await context.failpoint("train.created");
  await context.update({ job_id: job.id });
  context.cycle.job_id = job.id;
  await context.note({
    jobId: job.id,
    replay: general.replay.length,
    replayedEarlier: earlier.length,
    regression: recall.map((set) => set.name),
    probes: plan.probes.length,
  });
  return job.id;
}

/** Waits for the job; while it only queues (no runtime, or others before it), the cycle shows as waiting. */
async function untilEnded(context: StageContext, jobId: string): Promise<TrainingJob> {
  const { training, signal } = context;
  const stopLooking = new AbortController();
  const look = async () => {
    let shown = context.cycle.status;
    for (;;) {
      await delay(LOOK_MS, undefined, { signal: stopLooking.signal, ref: false });
      const { status } = await training.getJob(jobId, { signal });
      const next = status === "running" || status === "completed" ? "running" : "waiting";
      if (next === shown) continue;
      shown = next;
      await context.update({ status: next });
    }
  };
  // only a display: the wait itself meets every error that matters
  const looking = look().catch(() => {});
  try {
    return await training.waitFor(jobId, { signal });
  } finally {
    stopLooking.abort();
    await looking;
  }
}
