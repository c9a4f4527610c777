import { EngineError } from "../../errors.js";
import type { CycleEvaluation, GateReason } from "../../types/cycle.js";
import { decideGate } from "../gate/decide.js";
import type { EvaluatorOutcome } from "../gate/evaluators.js";
import { assessPairing } from "../gate/pairing.js";
import { servingOf, tenantOfCycle } from "../tenants.js";
import type { Stage, StageContext } from "./stage.js";

/** Asks the gate, and writes down its reasons. */
export const gate: Stage = async (context) => {
  const { cycle, state, options } = context;
  const evaluators = await askEvaluators(context);
  const decision = decideGate(
    {
      evidence: state.evidence ?? [],
      pairing: await checkPairing(context),
      anchors: await readAnchors(context),
      evaluators,
      probes: state.probeReasons ?? [],
    },
    options.gate,
  );
  const evaluation = cycle.evaluation as CycleEvaluation | null;
  const domainMetrics = Object.fromEntries(evaluators.map((outcome) => [outcome.name, averageOf(outcome.scores.candidate)]));
  return {
    next: decision.passed ? "activate" : "rollback",
    detail: { decision: decision.decision, reasons: decision.reasons },
    patch: {
      gate: JSON.stringify(decision),
      ...(evaluation === null || evaluators.length === 0 ? {} : { evaluation: JSON.stringify({ ...evaluation, domainMetrics }) }),
    },
    state: evaluators.length === 0 ? {} : { loadedForEvaluators: true },
  };
};

/** All that the cycle learnt or was tested on from feedback: every phrasing of a fact helps the check. */
async function checkPairing(context: StageContext): Promise<GateReason | null> {
  const { cycle, datasets, options, signal } = context;
  if (!options.gate.pairingCheck) return null;
  const pairs: { prompt: string; response: string }[] = [];
  for await (const item of datasets.items(cycle.dataset_id as string, { signal })) {
    if (item.split !== "preference" && item.sample.source !== "retrieved")
      pairs.push({ prompt: item.sample.prompt, response: item.sample.response });
  }
  return (await assessPairing(pairs, { seed: options.gate.seed })).reason;
}

/** Exact answers of each regression set when the bare base model was first evaluated on it: what all cycles together may spend from. */
async function readAnchors(context: StageContext): Promise<Record<string, number>> {
  const rows = await context.store.db
    .selectFrom("cycles")
    .select(["evaluation", "state"])
    .where("pipeline", "=", context.cycle.pipeline)
    .where("evaluation", "is not", null)
    .orderBy("created_at")
    .limit(100)
    .execute();
  const anchors: Record<string, number> = {};
  for (const row of rows) {
    if ((row.state as { evaluatedAgainst?: string | null }).evaluatedAgainst !== null) continue;
    for (const set of (row.evaluation as CycleEvaluation).sets) {
      if (set.kind === "regression" && set.name === "general") anchors[set.name] ??= set.exact.baseline;
    }
  }
  return anchors;
}

async function askEvaluators(context: StageContext): Promise<EvaluatorOutcome[]> {
  const { cycle, state, options, serving, training, signal } = context;
  if (options.evaluators.length === 0) return [];
  const job = await training.getJob(cycle.job_id as string, { signal });
  const candidate = { adapterId: cycle.adapter_id as string, path: job.adapterPath ?? "" };
  await serving.loadAdapter({ id: candidate.adapterId, path: candidate.path }, { signal });
  const outcomes: EvaluatorOutcome[] = [];
  const asked = servingOf(serving, await tenantOfCycle(context));
  for (const evaluator of options.evaluators) {
    const input = { cycle: await context.view(), candidate, baseline: { adapterId: state.evaluatedAgainst ?? null }, serving: asked };
    try {
      const scores = await evaluator.evaluate(input, { signal });
      outcomes.push({ name: evaluator.name, scores, mustImprove: evaluator.mustImprove ?? false });
    } catch (error) {
      if (signal.aborted) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new EngineError("evaluation_failed", `The evaluator "${evaluator.name}" failed: ${message}`, {
        cause: error,
        details: { evaluator: evaluator.name },
      });
    }
  }
  return outcomes;
}

function averageOf(scores: number | readonly number[]): number {
  if (typeof scores === "number") return scores;
  return scores.reduce((sum, score) => sum + score, 0) / Math.max(1, scores.length);
}
