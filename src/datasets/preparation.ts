import type { CallOptions, DatasetItem, PreparedData } from "../types/index.js";
import { orderKeyOf, type PreparationParts, type PrepareOptions, prepareRows } from "./prepare-rows.js";
import { Removals } from "./removals.js";
import { type Candidate, isUnusable, type TrainingSource, toCandidate, type Unusable } from "./sample-input.js";
import { MemoryShelf } from "./sample-shelf.js";
import { StatisticsCollector } from "./statistics.js";

export type { PreparationParts, PrepareOptions } from "./prepare-rows.js";

/**
 * Filters, deduplicates, counts and splits samples; every one of them ends in one split or in `report.removed` with its reason. The result does not depend on the order of the input.
 */
export async function prepareCandidates(
  candidates: readonly (Candidate | Unusable)[],
  options: PrepareOptions,
  parts: PreparationParts,
  callOptions: CallOptions = {},
): Promise<PreparedData> {
  const place = { shelf: new MemoryShelf(), removals: new Removals(Number.POSITIVE_INFINITY) };
  const ordered = candidates
    .map((candidate) => ({ candidate, key: orderKeyOf(candidate) }))
    .sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0))
    .map(({ candidate }) => candidate);
  const { received, kept, rows } = await prepareRows(ordered, options, { ...parts, ...place }, callOptions);
  const items: DatasetItem[] = [];
  const statistics = new StatisticsCollector();
  for await (const { item, tokens } of rows()) {
    items.push(item);
    statistics.add(item, tokens);
  }
  return {
    items,
    report: { received, kept, removed: place.removals.first },
    statistics: statistics.result(parts.tokenizer === undefined),
  };
}

/** Samples and search results as candidates; see `toCandidate`. Copies without an id of their own are numbered, so that each is accounted for. */
export function toCandidates(sources: readonly TrainingSource[], domain?: string): (Candidate | Unusable)[] {
  const copies = new Map<string, number>();
  return sources.map((source, index) => {
    const candidate = toCandidate(source, index, domain);
    if (isUnusable(candidate) || ("id" in source && source.id !== undefined)) return candidate;
    const { sample } = candidate;
    const copy = (copies.get(sample.id) ?? 0) + 1;
    copies.set(sample.id, copy);
    return copy === 1 ? candidate : { ...candidate, sample: { ...sample, id: `${sample.id}_${copy}` } };
  });
}
