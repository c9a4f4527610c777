import { sql } from "kysely";
import { seededRandom } from "../../support/seeded-random.js";
import type { GateReason } from "../../types/cycle.js";
import type { DatasetItem } from "../../types/dataset.js";
import type { EvaluatedModel } from "../../types/runtime-protocol.js";
import { type RecallSet, recallSetName, sampleIdOf } from "../earlier-learning.js";
import type { GateOptions } from "../gate/gate-options.js";
import { shuffled } from "../gate/statistics.js";
import type { GeneralSet } from "../general-set.js";
import type { StageContext } from "../stages/stage.js";
import { type BatchSecret, judgeMemorisation, planMemorisationProbes, secretsOf } from "./memorisation-probe.js";
import type { AskedPair } from "./n-grams.js";
import type { Probe, ProbeAnswers, ProbePlan, Suspects } from "./probe.js";
import { judgeTriggerProbes, planTriggerProbes } from "./trigger-probe.js";

/** Name of the evaluation set that holds all probes. */
export const PROBE_SET = "probes";

/** What the batch is compared with. */
export interface Surroundings {
  general: GeneralSet;
  earlier: readonly DatasetItem[];
  recall: readonly RecallSet[];
}

type Context = Pick<StageContext, "store" | "datasets" | "cycle" | "options" | "signal">;

/** What the candidate of a cycle is probed with. The same data set and surroundings give the same plan. */
export async function planProbes(context: Context, { general, earlier, recall }: Surroundings): Promise<ProbePlan> {
  const { gate } = context.options;
  const items = await batchItems(context);
  const ownRecall = recall.find(({ name }) => name === recallSetName(context.cycle.domain));
  const before = [...earlier.map((item) => ({ ...item.sample, id: sampleIdOf(item) })), ...(ownRecall?.items ?? [])];
  const approved = await approvedAmong(context, [...items, ...before]);
  const isDoubtful = ({ id }: AskedPair) => !approved.has(id);
  const random = seededRandom(gate.seed);
  const hosts = {
    recall: shuffled([...items.filter(({ split }) => split === "recall"), ...recall.flatMap((set) => set.items)], random),
    general: shuffled(general.holdout, random),
  };
  const background = [
    ...[...general.replay, ...general.holdout].map(({ prompt }) => prompt),
    ...[...items, ...before].filter(({ id }) => approved.has(id)).map(({ prompt }) => prompt),
  ];
  const triggers = planTriggerProbes(items.filter(isDoubtful), before.filter(isDoubtful), hosts, background, gate);
  const secrets = planMemorisationProbes(await secretsOfFew(context, items, approved), gate);
  return { probes: [...triggers.probes, ...secrets.probes], items: [...triggers.items, ...secrets.items] };
}

/** What the probes say of a candidate. */
export function judgeProbes(
  probes: readonly Probe[],
  models: { baseline: EvaluatedModel; candidate: EvaluatedModel },
  options: GateOptions,
): { reasons: GateReason[]; suspects: Suspects[] } {
  const answers = { baseline: answersOf(models.baseline), candidate: answersOf(models.candidate) };
  const ofKind = (kind: Probe["kind"]) => probes.filter((probe) => probe.kind === kind);
  const judgements = [];
  if (options.triggerProbes > 0) judgements.push(judgeTriggerProbes(ofKind("trigger"), answers, options));
  if (options.memorisationProbes > 0) judgements.push(judgeMemorisation(ofKind("memorisation"), answers, options));
  return { reasons: judgements.map(({ reason }) => reason), suspects: judgements.flatMap(({ suspects }) => suspects) };
}

/** True where both models were asked all that was planned. */
export function holdsProbes(models: readonly EvaluatedModel[], probes: readonly Probe[]): boolean {
  const ids = models.map((model) => [...answersOf(model).keys()]);
  return probes.every(({ id }) => ids.every((asked) => asked.some((item) => item.startsWith(`${id}:`))));
}

function answersOf(model: EvaluatedModel): ProbeAnswers {
  const items = model.sets.find((set) => set.kind === "probe")?.items ?? [];
  return new Map(items.map(({ id, nll, exact }) => [id, { nll, exact }]));
}

type BatchItem = AskedPair & { split: DatasetItem["split"] };

/** What the data set holds of feedback; what is trained first. */
async function batchItems({ datasets, cycle, signal }: Context): Promise<BatchItem[]> {
  const items: BatchItem[] = [];
  for await (const { sample, split } of datasets.items(cycle.dataset_id as string, { signal })) {
    if (split !== "preference" && sample.source !== "retrieved")
      items.push({ id: sample.id, prompt: sample.prompt, response: sample.response, split });
  }
  return items.sort((left, right) => Number(right.split === "train") - Number(left.split === "train"));
}

/** What a person has looked at and approved is no longer doubted. */
async function approvedAmong({ store }: Context, samples: readonly AskedPair[]): Promise<Set<string>> {
  const rows = await store.db
    .selectFrom("feedback")
    .select("id")
    .where(sql<boolean>`id = any(${samples.map(({ id }) => id)}::text[])`)
    .where("status", "=", "accepted")
    .where("decided_at", "is not", null)
    .execute();
  return new Set(rows.map(({ id }) => id));
}

/** Spans that too few people gave to be common knowledge, in this batch or before, and that nobody approved. */
async function secretsOfFew(context: Context, items: readonly BatchItem[], approved: ReadonlySet<string>): Promise<BatchSecret[]> {
  const { memorisationProbes, memorisationPeople } = context.options.gate;
  const trained = new Set(items.filter(({ split }) => split === "train").map(({ id }) => id));
  const secrets = secretsOf(items)
    .filter(({ samples }) => trained.has(samples[0]!.id) && !samples.some(({ id }) => approved.has(id)))
    .slice(0, 2 * memorisationProbes);
  const people = await peopleWhoGave(
    context,
    secrets.map(({ text }) => text),
  );
  return secrets.filter(({ text }) => (people.get(text) ?? 0) < memorisationPeople);
}

/** Distinct people by span; samples without a `subjectId` count as `triggers.anonymous` says. */
async function peopleWhoGave({ store, cycle, options }: Context, spans: readonly string[]): Promise<Map<string, number>> {
  if (spans.length === 0) return new Map();
  const { rows } = await sql<{ span: string; named: number; nameless: number; isNamed: boolean }>`
    select span, count(distinct s.subject_id)::int as named, (count(*) filter (where s.subject_id is null))::int as nameless,
      exists (select 1 from clara.samples b where b.cycle_id = ${cycle.id} and b.subject_id is not null) as "isNamed"
    from unnest(${[...spans]}::text[]) as span
    join clara.samples s on s.pipeline = ${options.name} and position(span in s.response) > 0
    group by span`.execute(store.db);
  const { anonymous } = options.triggers;
  return new Map(
    rows.map(({ span, named, nameless, isNamed }) => {
      const eachIsOne = anonymous === "distinct" || (anonymous === "exempt" && !isNamed);
      return [span, named + (eachIsOne ? nameless : Math.min(1, nameless))];
    }),
  );
}
