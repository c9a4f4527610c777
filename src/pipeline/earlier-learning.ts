import { sql } from "kysely";
import { seededRandom } from "../support/seeded-random.js";
import { tenantPartOf } from "../support/tenancy.js";
import type { CallOptions } from "../types/common.js";
import type { DatasetItem, SplitName } from "../types/dataset.js";
import { shuffled } from "./gate/statistics.js";
import type { StageParts } from "./stages/stage.js";
import { normaliseText } from "./storable-text.js";

type Parts = Pick<StageParts, "store" | "datasets" | "options">;

/** Questions that an earlier cycle was tested on. */
export interface RecallSet {
  name: string;
  items: { id: string; prompt: string; response: string; group: string }[];
}

const MAX_RECALL_ITEMS = 200;
const MAX_OTHER_DOMAINS = 5;
const LEARNT_LATER: ReadonlySet<SplitName> = new Set(["train", "generalisation"]);

/** The regression set of a domain's earlier held-out questions. */
export function recallSetName(domain: string): string {
  return `domain:${domain}`;
}

/** All items of the domain's activated cycles, newest cycle first. */
export async function* earlierItems(parts: Parts, domain: string, { signal }: CallOptions): AsyncIterable<DatasetItem> {
  for (const datasetId of await promotedDatasets(parts, domain)) yield* parts.datasets.items(datasetId, { signal });
}

/** What the domain's activated cycles learnt, newest first, for the trainer to replay: a cycle trains a fresh adapter. */
export async function earlierTrainingItems(
  parts: Parts,
  domain: string,
  batch: readonly { prompt: string; response: string }[],
  { signal }: CallOptions,
): Promise<DatasetItem[]> {
  const datasetIds = await promotedDatasets(parts, domain);
  const quarantined = await quarantinedIds(parts);
  const asked = new Map(batch.map((pair) => [normaliseText(pair.prompt), normaliseText(pair.response)]));
  const seen = new Set<string>();
  const kept: DatasetItem[] = [];
  for (const datasetId of datasetIds) {
    // what was kept out whole to test that cycle is learnt now, or its users would be asked and never heard
    const items = (await collect(parts.datasets.items(datasetId, { signal })))
      .filter(({ split }) => LEARNT_LATER.has(split))
      .filter((item) => !quarantined.has(sampleIdOf(item)));
    const superseded = new Set(items.filter((item) => contradicts(item, asked)).map((item) => item.group));
    for (const item of items) {
      if (kept.length >= parts.options.maxReplay) return kept;
      const prompt = normaliseText(item.sample.prompt);
      // a fact that the batch states anew is learnt anew, in all its phrasings; a question is replayed with its newest answer
      if (superseded.has(item.group) || asked.has(prompt) || seen.has(prompt) || item.sample.source === "retrieved") continue;
      seen.add(prompt);
      kept.push(item);
    }
  }
  return kept;
}

/**
 * The held-out questions of earlier cycles: the domain's own (wrong answers to known questions must not pass), and some of every other
 * domain.
 */
export async function earlierRecallSets(parts: Parts, domain: string, { signal }: CallOptions): Promise<RecallSet[]> {
  const quarantined = await quarantinedIds(parts);
  const own = await recallItems(parts, domain, { limit: MAX_RECALL_ITEMS, quarantined, signal });
  const sets: RecallSet[] = own.length === 0 ? [] : [{ name: recallSetName(domain), items: own }];
  if (parts.options.otherDomainItems === 0) return sets;
  for (const other of await otherDomains(parts, domain)) {
    const items = await recallItems(parts, other, { limit: parts.options.otherDomainItems, quarantined, signal });
    if (items.length > 0) sets.push({ name: recallSetName(other), items });
  }
  return sets;
}

async function recallItems(
  parts: Parts,
  domain: string,
  { limit, quarantined, signal }: CallOptions & { limit: number; quarantined: ReadonlySet<string> },
): Promise<RecallSet["items"]> {
  const newest = new Map<string, RecallSet["items"][number]>();
  for (const datasetId of await promotedDatasets(parts, domain)) {
    for await (const item of parts.datasets.items(datasetId, { split: "recall", signal })) {
      const key = normaliseText(item.sample.prompt);
      if (!newest.has(key) && !quarantined.has(sampleIdOf(item)))
        newest.set(key, { id: item.sample.id, prompt: item.sample.prompt, response: item.sample.response, group: item.group });
    }
  }
  const items = [...newest.values()];
  return items.length <= limit ? items : shuffled(items, seededRandom(parts.options.gate.seed)).slice(0, limit);
}

function contradicts(item: DatasetItem, asked: ReadonlyMap<string, string>): boolean {
  const answer = asked.get(normaliseText(item.sample.prompt));
  return answer !== undefined && answer !== normaliseText(item.sample.response);
}

/** By which the pipeline knows a row of its data sets. */
export const sampleIdOf = ({ sample }: DatasetItem): string => sample.feedbackId ?? sample.id;

/** What a probe took out of a data set after it was learnt. */
async function quarantinedIds(parts: Parts): Promise<Set<string>> {
  const rows = await parts.store.db
    .selectFrom("samples")
    .select("id")
    .where("pipeline", "=", parts.options.name)
    .where("state", "=", "quarantined")
    .execute();
  return new Set(rows.map(({ id }) => id));
}

async function promotedDatasets(parts: Parts, domain: string): Promise<string[]> {
  const rows = await parts.store.db
    .selectFrom("cycles")
    .select("dataset_id")
    .where("pipeline", "=", parts.options.name)
    .where("domain", "=", domain)
    .where("status", "=", "promoted")
    .where("dataset_id", "is not", null)
    .orderBy("ended_at", "desc")
    .execute();
  return [...new Set(rows.map((row) => row.dataset_id as string))];
}

async function otherDomains(parts: Parts, domain: string): Promise<string[]> {
  const rows = await parts.store.db
    .selectFrom("cycles")
    .select(["domain", (eb) => eb.fn.max("ended_at").as("latest")])
    .where("pipeline", "=", parts.options.name)
    .where("domain", "!=", domain)
    // nobody is tested on what a tenant said but that tenant
    .where(sql<boolean>`(position('--' in domain) = 0 or starts_with(domain, ${`${tenantPartOf(domain) ?? ""}--`}))`)
    .where("status", "=", "promoted")
    .groupBy("domain")
    .orderBy("latest", "desc")
    .limit(MAX_OTHER_DOMAINS)
    .execute();
  return rows.map((row) => row.domain);
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}
