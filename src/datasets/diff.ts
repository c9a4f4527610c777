import { AbortedError } from "../errors.js";
import type { CallOptions, Dataset, DatasetItem, SplitName } from "../types/index.js";

/** One row that differs between two datasets. */
export interface DatasetChange {
  kind: "added" | "removed" | "changed";
  sampleId: string;
  /** Absent for added rows. */
  before?: DatasetItem;
  /** Absent for removed rows. */
  after?: DatasetItem;
  /** Of changed rows: `split`, `group` and the names of the sample's fields that differ, sorted. */
  fields?: string[];
}

/** How two datasets differ. */
export interface DatasetDiff {
  before: Dataset;
  after: Dataset;
  added: number;
  removed: number;
  changed: number;
  unchanged: number;
  /** Rows by split: how many each dataset has, and how many of its own changed. A row that moved counts as changed in the split where it is now. */
  splits: Record<SplitName, { before: number; after: number; added: number; removed: number; changed: number }>;
}

/** Rows of one dataset in the order of their sample ids' bytes. */
export type OrderedItems = AsyncIterable<DatasetItem>;

/** Merges two ordered datasets into their differences; memory holds one row of each. */
export async function* changesBetween(before: OrderedItems, after: OrderedItems, { signal }: CallOptions): AsyncGenerator<DatasetChange> {
  for await (const { change } of merged(before, after)) {
    if (signal?.aborted) throw new AbortedError();
    if (change) yield change;
  }
}

/** Counts the differences. */
export async function summariseChanges(
  datasets: { before: Dataset; after: Dataset },
  before: OrderedItems,
  after: OrderedItems,
  { signal }: CallOptions,
): Promise<DatasetDiff> {
  const none = () => ({ before: 0, after: 0, added: 0, removed: 0, changed: 0 });
  const splits: DatasetDiff["splits"] = { train: none(), recall: none(), generalisation: none(), preference: none() };
  const counts = { added: 0, removed: 0, changed: 0, unchanged: 0 };
  for await (const { old, now, change } of merged(before, after)) {
    if (signal?.aborted) throw new AbortedError();
    if (old) splits[old.split].before += 1;
    if (now) splits[now.split].after += 1;
    counts[change?.kind ?? "unchanged"] += 1;
    if (change) splits[(now ?? old)!.split][change.kind] += 1;
  }
  return { ...datasets, ...counts, splits };
}

interface Pair {
  old?: DatasetItem;
  now?: DatasetItem;
  change: DatasetChange | null;
}

/** Pairs rows of the same id; several rows of one id are paired in their order. */
async function* merged(before: OrderedItems, after: OrderedItems): AsyncGenerator<Pair> {
  const [left, right] = [before[Symbol.asyncIterator](), after[Symbol.asyncIterator]()];
  try {
    let [old, now] = [await next(left), await next(right)];
    while (old || now) {
      const order = !old ? 1 : !now ? -1 : compareBytes(old.sample.id, now.sample.id);
      if (order < 0) {
        yield { old: old!, change: { kind: "removed", sampleId: old!.sample.id, before: old! } };
        old = await next(left);
      } else if (order > 0) {
        yield { now: now!, change: { kind: "added", sampleId: now!.sample.id, after: now! } };
        now = await next(right);
      } else {
        const fields = differingFields(old!, now!);
        const change: DatasetChange | null =
          fields.length === 0 ? null : { kind: "changed", sampleId: now!.sample.id, before: old!, after: now!, fields };
        yield { old: old!, now: now!, change };
        [old, now] = [await next(left), await next(right)];
      }
    }
  } finally {
    await left.return?.();
    await right.return?.();
  }
}

async function next(items: AsyncIterator<DatasetItem>): Promise<DatasetItem | null> {
  const result = await items.next();
  return result.done ? null : result.value;
}

/** As the database's "C" collation orders text; JavaScript's own order differs beyond U+FFFF. */
function compareBytes(left: string, right: string): number {
  return left === right ? 0 : Buffer.compare(Buffer.from(left), Buffer.from(right));
}

function differingFields(before: DatasetItem, after: DatasetItem): string[] {
  const [old, now] = [
    { ...before.sample, ...placeOf(before) },
    { ...after.sample, ...placeOf(after) },
  ] as Record<string, unknown>[];
  return [...new Set([...Object.keys(old!), ...Object.keys(now!)])].filter((field) => old![field] !== now![field]).sort();
}

function placeOf({ split, group }: DatasetItem): { split: string; group: string } {
  return { split, group };
}
