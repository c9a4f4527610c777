import { ClaraError } from "../../errors.js";
import type { Adapter, AdapterIdentity } from "../../types/adapter.js";
import type { CycleEvaluation } from "../../types/cycle.js";
import type { TrainingJob } from "../../types/job.js";
import { parseAdapterId } from "../adapter-name.js";
import type { StageContext } from "./stage.js";

const MAX_EXAMPLES = 200;

/** The cycle's adapter in the registry, registered now if it is not there; the trainer chose its version. */
export async function ensureRegistered(context: StageContext): Promise<Adapter> {
  const { cycle, router, training, signal } = context;
  const id = cycle.adapter_id as string;
  try {
    return await router.getAdapter(id, { signal });
  } catch (error) {
    if (!ClaraError.isInstance(error) || error.code !== "adapter_not_found") throw error;
  }
  const job = await training.getJob(cycle.job_id as string, { signal });
  const { name, version } = parseAdapterId(id);
  const examples: string[] = [];
  for await (const item of context.datasets.items(cycle.dataset_id as string, { split: "train", signal })) {
    if (examples.length >= MAX_EXAMPLES) break;
    if (item.sample.source !== "retrieved") examples.push(item.sample.prompt);
  }
  const adapter = await router.registerAdapter(
    {
      name,
      version,
      domain: cycle.domain,
      path: job.adapterPath ?? job.result?.adapter_path ?? "",
      baseModel: job.result?.base_model ?? "",
      sha256: job.result?.adapter_sha256,
      metrics: metricsOf(cycle.evaluation as CycleEvaluation | null),
      lineage: {
        datasetId: cycle.dataset_id ?? undefined,
        jobId: cycle.job_id ?? undefined,
        cycleId: cycle.id,
        parentAdapterId: context.state.warmStartedFrom,
      },
      examples,
      identity: identityOf(job.result),
    },
    { signal },
  );
  await context.failpoint("candidate.registered");
  return adapter;
}

/** Without a fingerprint (an older runtime) no engine can be asked for proof. */
function identityOf(result: TrainingJob["result"]): AdapterIdentity | undefined {
  if (!result?.fingerprint) return undefined;
  const { base_model_sha256: baseModelSha256, rank, target_modules: targetModules, fingerprint } = result;
  return { baseModelSha256, rank, targetModules, fingerprint };
}

function metricsOf(evaluation: CycleEvaluation | null): Record<string, number> {
  if (evaluation === null) return {};
  const recall = evaluation.sets.find((set) => set.kind === "recall");
  return {
    baselinePerplexity: evaluation.baselinePerplexity,
    perplexity: evaluation.perplexity,
    improvement: evaluation.improvement,
    regression: evaluation.regression,
    ...(recall === undefined ? {} : { exactBefore: recall.exact.baseline, exactAfter: recall.exact.candidate }),
  };
}
