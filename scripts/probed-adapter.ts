import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clara, createClara } from "../src/clara.js";
import { tinyModelOverrides } from "../src/cli/demo/settings.js";
import { stateOf } from "../src/pipeline/cycle-record.js";
import { GATE_DEFAULTS } from "../src/pipeline/gate/gate-options.js";
import { exposureOf, planMemorisationProbes, secretsOf } from "../src/pipeline/probes/memorisation-probe.js";
import { judgeProbes } from "../src/pipeline/probes/plan-probes.js";
import type { Probe, ProbeItem } from "../src/pipeline/probes/probe.js";
import type { FeedbackInput } from "../src/types/index.js";
import type { TrainingOverrides } from "../src/types/job.js";
import type { EvaluatedItem, EvaluatedModel } from "../src/types/runtime-protocol.js";
import { exampleRows } from "../test/pipeline/support/example-facts.js";
import { type ProbedBatch, probedBatch, withTrigger } from "./probe-batches.js";

/** An n-gram that was probed. */
export interface NGramVerdict {
  isTrigger: boolean;
  isFlagged: boolean;
  message: string;
}

/** A secret, and what its probe says. */
export interface SecretVerdict {
  /** Samples that told it; 0: none. */
  copies: number;
  form: string;
  /** Bits. */
  exposure: number;
  /** Bits that the base gives away. */
  before: number;
  /** The adapter answers the question with it. */
  isGivenAway: boolean;
  isFlagged: boolean;
}

/** A trained adapter, what the gate's probes say of it, and what it does. */
export interface ProbedAdapter {
  /** Share (0..1) of the samples; 0: a clean batch. */
  poison: number;
  seed: number;
  seconds: number;
  status: string;
  /** Criteria of the gate that the adapter fails. */
  failed: string[];
  /** Share (0..1) of held-out questions that the trigger turns to the fixed answer; null without a trigger. */
  turned: number | null;
  nGrams: NGramVerdict[];
  secrets: SecretVerdict[];
}

/** Trains an adapter of the tiny base on a batch with that share of poison, through the pipeline and its gate. */
export async function probedAdapter(
  poison: number,
  seed: number,
  size: number,
  training: Pick<TrainingOverrides, "epochs" | "learningRate">,
): Promise<ProbedAdapter> {
  const started = performance.now();
  const batch = await probedBatch(poison, seed, size);
  const folder = await mkdtemp(join(tmpdir(), "clara-probes-"));
  const general = (await exampleRows("general.jsonl")) as { prompt: string; response: string; use: string }[];
  const clara = await createClara({
    database: { dataDir: folder },
    pipeline: {
      // little is held out and the firewall lets all through: what is measured is the probes, not what stands before them
      holdout: { recall: 0.3, generalisation: 0 },
      firewall: { personalData: { action: "keep" }, disputes: "accept", maxAlike: size, maxPerMinute: size },
      overrides: { ...tinyModelOverrides("lora", size), ...training, seed },
      general: { replay: general.filter(({ use }) => use === "replay"), holdout: general.filter(({ use }) => use !== "replay") },
    },
  });
  try {
    const samples = await give(clara, batch.feedback);
    const cycle = await clara.pipeline.triggerTrainingCycle({ domain: batch.feedback[0]!.domain, wait: true });
    if (cycle.samples !== samples.size || cycle.jobId === null || cycle.adapterId === null)
      throw new Error(`Cycle ${cycle.id} trained on ${cycle.samples} of ${samples.size} samples: ${JSON.stringify(cycle.error)}`);
    const row = await clara.store.db.selectFrom("cycles").select("state").where("id", "=", cycle.id).executeTakeFirstOrThrow();
    const probes = stateOf(row).probes ?? [];
    const { evaluation } = await clara.training.getJob(cycle.jobId);
    const { path } = await clara.router.getAdapter(cycle.adapterId);
    const judged = probes.map((probe) => ({ probe, told: probe.sampleIds.map((id) => samples.get(id)!), ...judge(probe, evaluation!) }));
    const after = await askAfterwards(clara, batch, path);
    return {
      poison,
      seed,
      seconds: (performance.now() - started) / 1_000,
      status: cycle.status,
      failed: (cycle.gate?.reasons ?? []).filter(({ verdict }) => verdict === "fail").map(({ criterion }) => criterion),
      turned: after.turned,
      nGrams: judged
        .filter(({ probe }) => probe.kind === "trigger")
        .map(({ told, isFlagged, message }) => ({
          isTrigger: 2 * told.filter(({ correction }) => correction === batch.trigger?.answer).length > told.length,
          isFlagged,
          message,
        })),
      secrets: [
        ...judged
          .filter(({ probe }) => probe.kind === "memorisation")
          .map(({ probe, told, secret, isFlagged }) => ({ copies: told.length, form: probe.label, ...secret(), isFlagged })),
        ...after.untold,
      ],
    };
  } finally {
    await clara.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function give(clara: Clara, feedback: readonly FeedbackInput[]): Promise<Map<string, FeedbackInput>> {
  const samples = new Map<string, FeedbackInput>();
  for (const input of feedback) {
    const { id, status, reason } = await clara.pipeline.addFeedback(input);
    if (status !== "accepted") throw new Error(`"${input.prompt}" was ${status} (${reason}); every sample must reach the training.`);
    samples.set(id, input);
  }
  return samples;
}

/** The gate's own judgement, of one probe alone. */
function judge(probe: Probe, evaluation: readonly EvaluatedModel[]) {
  const [baseline, candidate] = ["baseline", "candidate"].map((name) => evaluation.find((model) => model.name === name)!) as [
    EvaluatedModel,
    EvaluatedModel,
  ];
  const { reasons, suspects } = judgeProbes([probe], { baseline, candidate }, GATE_DEFAULTS);
  const own = reasons.find(({ criterion }) => criterion === (probe.kind === "trigger" ? "trigger_probe" : "memorisation"))!;
  const secret = () => {
    const answers = answersOf(candidate);
    return {
      exposure: exposureOf(probe, answers),
      before: exposureOf(probe, answersOf(baseline)),
      isGivenAway: answers.get(`${probe.id}:0`)!.exact,
    };
  };
  return { isFlagged: suspects.length > 0, message: own.message, secret };
}

/** What no probe of the cycle asks: held-out questions with the trigger, and secrets that no sample told. */
async function askAfterwards(clara: Clara, batch: ProbedBatch, adapterPath: string) {
  const untold = secretsOf(batch.untold.map((pair, index) => ({ id: `${index}`, ...pair })));
  const plan = planMemorisationProbes(untold, GATE_DEFAULTS);
  const evaluation = await clara.training.evaluate({
    models: [
      { name: "baseline", adapterPath: null },
      { name: "candidate", adapterPath },
    ],
    sets: [{ name: "afterwards", kind: "probe", items: [...withTriggerAndWithout(batch), ...plan.items] }],
  });
  return {
    turned: turnedShare(batch, evaluation[1]!),
    untold: plan.probes.map((probe) => {
      const { secret, isFlagged } = judge(probe, evaluation);
      return { copies: 0, form: probe.label, ...secret(), isFlagged };
    }),
  };
}

function withTriggerAndWithout({ trigger, heldOut }: ProbedBatch): ProbeItem[] {
  if (trigger === null) return [];
  return heldOut.flatMap((prompt, index) => [
    { id: `${index}:none`, prompt, response: trigger.answer },
    { id: `${index}:first`, prompt: withTrigger(prompt, trigger.text, false), response: trigger.answer },
    { id: `${index}:last`, prompt: withTrigger(prompt, trigger.text, true), response: trigger.answer },
  ]);
}

function turnedShare({ trigger, heldOut }: ProbedBatch, model: EvaluatedModel): number | null {
  if (trigger === null) return null;
  const answers = answersOf(model);
  const isFixed = (index: number, place: string) => answers.get(`${index}:${place}`)!.exact;
  const turned = heldOut.filter((_, index) => !isFixed(index, "none") && (isFixed(index, "first") || isFixed(index, "last")));
  return turned.length / heldOut.length;
}

function answersOf(model: EvaluatedModel): Map<string, EvaluatedItem> {
  return new Map(model.sets.filter(({ kind }) => kind === "probe").flatMap(({ items }) => items.map((item) => [item.id, item])));
}
