import { EngineError, TrainingError } from "../../errors.js";
import type { DatasetItem } from "../../types/dataset.js";
import type { EvaluatedModel, EvaluationSetKind } from "../../types/runtime-protocol.js";
import { earlierRecallSets, earlierTrainingItems } from "../earlier-learning.js";
import { gatherEvidence, summariseEvidence } from "../gate/evidence.js";
import { generalSet } from "../general-set.js";
import { holdsProbes, judgeProbes, PROBE_SET, planProbes } from "../probes/plan-probes.js";
import type { Probe } from "../probes/probe.js";
import { noteUnlearnt } from "../sample-ledger.js";
import { unlearntSamples } from "../unlearnt-samples.js";
import { readBatch } from "./batch.js";
import type { Stage, StageContext } from "./stage.js";

/** Compares the candidate with what serves the domain now; anew, where that changed while the job ran. */
export const evaluate: Stage = async (context) => {
  const { cycle, state, training, router, signal, options } = context;
  const job = await training.getJob(cycle.job_id as string, { signal });
  await router.refresh?.({ signal });
  const incumbent = router.activeAdapter(cycle.domain);
  const isSame = (incumbent?.id ?? null) === (state.baseline?.adapterId ?? null);
  const planned = state.probes ?? [];
  const isComplete = isSame && job.evaluation !== null && holdsProbes(job.evaluation, planned);
  const { models, probes } = isComplete
    ? { models: job.evaluation as EvaluatedModel[], probes: planned }
    : await evaluateAnew(context, job.adapterPath, incumbent?.path ?? null);
  const baseline = models.find((model) => model.name === "baseline");
  const candidate = models.find((model) => model.name === "candidate");
  if (baseline === undefined || candidate === undefined) {
    throw new TrainingError("evaluation_failed", `The evaluation of job ${job.id} holds no baseline and candidate to compare.`, {
      details: { jobId: job.id, models: models.map((model) => model.name) },
    });
  }
  const evidence = gatherEvidence(baseline, candidate, options.gate);
  const evaluation = summariseEvidence(evidence);
  const sampleIds = await unlearntSamples(context, candidate, { signal });
  const { reasons: probeReasons, suspects } = judgeProbes(probes, { baseline, candidate }, options.gate);
  return {
    next: "gate",
    detail: { against: incumbent?.id ?? null, anew: !isComplete, sets: evidence.map((set) => ({ name: set.name, count: set.count })) },
    patch: { evaluation: JSON.stringify(evaluation) },
    state: { evidence, probeReasons, suspects, evaluatedAgainst: incumbent?.id ?? null },
    commit: (transaction) => noteUnlearnt(transaction, { cycleId: cycle.id, sampleIds }),
  };
};

async function evaluateAnew(
  context: StageContext,
  candidatePath: string | null,
  baselinePath: string | null,
): Promise<{ models: EvaluatedModel[]; probes: Probe[] }> {
  if (candidatePath === null)
    throw new EngineError("evaluation_failed", `The job of cycle ${context.cycle.id} has no adapter to evaluate.`);
  const { cycle, datasets, training, signal } = context;
  const held: Record<"recall" | "generalisation", DatasetItem[]> = { recall: [], generalisation: [] };
  for (const split of ["recall", "generalisation"] as const) {
    for await (const item of datasets.items(cycle.dataset_id as string, { split, signal })) held[split].push(item);
  }
  const general = await generalSet(context, { signal });
  const recall = await earlierRecallSets(context, cycle.domain, { signal });
  const earlier = await earlierTrainingItems(context, cycle.domain, await readBatch(context), { signal });
  const plan = await planProbes(context, { general, earlier, recall });
  const regression = [{ name: "general", items: general.holdout }, ...recall];
  const sets = [
    ...(["recall", "generalisation"] as const).map((name) => ({
      name,
      kind: name as EvaluationSetKind,
      items: held[name].map(({ sample, group }) => ({ id: sample.id, prompt: sample.prompt, response: sample.response, group })),
    })),
    ...regression.map((set) => ({
      name: set.name,
      kind: "regression" as const,
      items: set.items.map((item, index) => ({ id: `${set.name}:${index}`, ...item })),
    })),
    { name: PROBE_SET, kind: "probe" as const, items: plan.items },
  ].filter((set) => set.items.length > 0);
  const models = await training.evaluate(
    {
      models: [
        { name: "baseline", adapterPath: baselinePath },
        { name: "candidate", adapterPath: candidatePath },
      ],
      sets,
    },
    { signal },
  );
  return { models, probes: plan.probes };
}
