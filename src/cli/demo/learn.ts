import type { Clara } from "../../clara.js";
import { ClaraError } from "../../errors.js";
import type { CallOptions } from "../../types/common.js";
import type { LearningCycle } from "../../types/cycle.js";
import type { Progress } from "../progress.js";

/**
 * Lets the triggers start one cycle per domain, starts those by hand that have fewer samples than the size trigger asks
 * for, and waits for all.
 */
export async function learnAll(clara: Clara, progress: Progress, { signal }: CallOptions): Promise<LearningCycle[]> {
  await clara.pipeline.buffer.refresh({ signal });
  const domains = Object.entries(clara.pipeline.buffer.stats().waitingByDomain)
    .filter(([, waiting]) => waiting > 0)
    .map(([domain]) => domain)
    .sort();
  const started = await clara.pipeline.checkTriggers({ signal });
  const triggered = new Set((await Promise.all(started.map((id) => clara.pipeline.getCycle(id)))).map((cycle) => cycle.domain));
  for (const domain of domains) {
    if (triggered.has(domain)) continue;
    try {
      started.push((await clara.pipeline.triggerTrainingCycle({ domain, signal })).id);
    } catch (error) {
      if (!ClaraError.isInstance(error) || error.code !== "dataset_too_small") throw error;
      progress.detail(`${domain}: ${error.message}`);
    }
  }
  const watching = new AbortController();
  const watched = new Set<string>();
  const onUpdate = ({ cycle }: { cycle: LearningCycle }): void => {
    progress.detail(`${cycle.domain}: ${cycle.endedAt ? cycle.status : (cycle.stages.at(-1)?.name ?? cycle.status)}`);
    if (!cycle.jobId || watched.has(cycle.jobId)) return;
    watched.add(cycle.jobId);
    void showJob(clara, cycle.domain, cycle.jobId, progress, watching.signal);
  };
  clara.pipeline.on("cycle.updated", onUpdate);
  try {
    const cycles = await Promise.all(started.map((id) => clara.pipeline.waitForCycle(id, { signal })));
    return cycles.sort((a, b) => (a.domain < b.domain ? -1 : 1));
  } finally {
    clara.pipeline.off("cycle.updated", onUpdate);
    watching.abort();
  }
}

async function showJob(clara: Clara, domain: string, jobId: string, progress: Progress, signal: AbortSignal): Promise<void> {
  try {
    let loss = "";
    for await (const event of clara.training.watch(jobId, { signal })) {
      if (event.type === "metrics_update" && event.metrics.loss !== undefined) loss = `, loss ${event.metrics.loss.toFixed(3)}`;
      if (event.type === "job_update")
        progress.detail(`${domain}: ${event.phase ?? event.status} ${event.progressPercent.toFixed(0)} %${loss}`);
    }
  } catch (error) {
    // The cycle itself reports what went wrong; this only draws.
    if (!signal.aborted) progress.detail(`${domain}: progress is not shown (${(error as Error).message})`);
  }
}
