import { randomUUID } from "node:crypto";
import { type Selectable, sql } from "kysely";
import { z } from "zod";
import { AbortedError, ConflictError, NotFoundError, ValidationError } from "../errors.js";
import type { Executor, Store } from "../store/store.js";
import type { DatasetTable } from "../store/tables/dataset.js";
import {
  type CallOptions,
  type Dataset,
  type DatasetItem,
  type DatasetStatistics,
  type DatasetTombstone,
  type PreparationReport,
  SplitName,
} from "../types/index.js";
import { contentHashOf } from "./content-hash.js";
import { inGroups } from "./export/in-groups.js";
import { Removals } from "./removals.js";

/** Rows written or read at once: bounds memory and the number of parameters of one statement. */
const BATCH = 500;
const WRITTEN = {
  rows: BATCH,
  size: 8 * 1024 * 1024,
  sizeOf: ({ sample }: DatasetItem) => sample.prompt.length + sample.response.length,
};
/** How many removed samples are kept with a dataset; counts by reason are kept whole. */
export const KEPT_REMOVALS = 1000;

/** A dataset that is ready to be written. */
export interface NewDataset {
  name: string;
  description?: string;
  domain?: string;
  items: readonly DatasetItem[];
  statistics: DatasetStatistics;
  lineage: Dataset["lineage"];
  /** Options and report of the preparation, kept for `analyze`; with `reasons` where the report names only the first that were removed. */
  preparation?: { options: Record<string, unknown>; report: PreparationReport; reasons?: Record<string, number> };
}

/** A dataset whose rows are read while they are written, so that they need not fit into memory. */
export interface StreamedDataset extends Omit<NewDataset, "items"> {
  items: AsyncIterable<DatasetItem> | Iterable<DatasetItem>;
  itemCount: number;
  contentHash: string;
  /** Mean quality score of the rows, 0..1. */
  quality: number;
}

/** Options of `list`. */
export interface DatasetFilter {
  name?: string;
  domain?: string;
  /** 1..1000, default 100. */
  limit?: number;
  /** Default 0. */
  offset?: number;
}

/** What is kept of a preparation. */
export interface StoredPreparation {
  options: Record<string, unknown>;
  received: number;
  kept: number;
  /** Number of removed samples by the first word of their reason. */
  reasons: Record<string, number>;
  removed: PreparationReport["removed"];
}

/** Datasets in the store: immutable, versioned per name, found again by the hash of their content. */
export class DatasetRegistry {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Writes the next version, or gives back the version that has the same rows; within `transaction` where given. */
  async create(input: NewDataset, options: CallOptions & { transaction?: Executor } = {}): Promise<Dataset> {
    const { items } = input;
    const rows = { itemCount: items.length, contentHash: contentHashOf(items), quality: meanQuality(items) };
    return this.createStreamed({ ...input, ...rows }, options);
  }

  /** As `create`, of rows that are read once, and only where no version has them already. */
  async createStreamed(input: StreamedDataset, options: CallOptions & { transaction?: Executor } = {}): Promise<Dataset> {
    const work = (executor: Executor): Promise<Dataset> => this.#write(executor, input, options.signal);
    if (options.transaction) return work(options.transaction);
    return this.#store.db.transaction().execute(work);
  }

  async #write(executor: Executor, input: StreamedDataset, signal?: AbortSignal): Promise<Dataset> {
    throwIfAborted(signal);
    // Versions of one name are counted by one writer at a time, over all processes; the lock goes with the transaction.
    await sql`select pg_advisory_xact_lock(hashtextextended(${`clara.dataset:${input.name}`}, 0))`.execute(executor);
    const same = await executor
      .selectFrom("dataset")
      .selectAll()
      .where("name", "=", input.name)
      .where("content_hash", "=", input.contentHash)
      .where("deleted_at", "is", null)
      .executeTakeFirst();
    if (same) return toDataset(same);
    const { version } = await executor
      .selectFrom("dataset")
      .select((row) => row.fn.coalesce(row.fn.max("version"), sql.lit(0)).as("version"))
      .where("name", "=", input.name)
      .executeTakeFirstOrThrow();
    const id = `dataset_${randomUUID()}`;
    const created = await executor
      .insertInto("dataset")
      .values({
        id,
        name: input.name,
        version: Number(version) + 1,
        content_hash: input.contentHash,
        description: input.description ?? null,
        domain: input.domain ?? null,
        item_count: input.itemCount,
        splits: JSON.stringify(input.statistics.splits),
        quality: input.quality,
        statistics: JSON.stringify(input.statistics),
        preparation: input.preparation ? JSON.stringify(toStoredPreparation(input.preparation)) : null,
        lineage: JSON.stringify(input.lineage),
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    let position = 0;
    for await (const group of inGroups(input.items, WRITTEN)) {
      throwIfAborted(signal);
      const rows = group.map((item, index) => toRow(id, position + index, item));
      await executor.insertInto("dataset_item").values(rows).execute();
      position += group.length;
    }
    return toDataset(created);
  }

  /** @throws NotFoundError `dataset_not_found`, `dataset_deleted` (when and why in `details`). */
  async get(id: string, options: CallOptions & { transaction?: Executor } = {}): Promise<Dataset> {
    return toDataset(await this.#row(id, options));
  }

  /** What was kept of the preparation; null for rows that were given prepared. */
  async preparationOf(id: string, options: CallOptions = {}): Promise<StoredPreparation | null> {
    return ((await this.#row(id, options)).preparation as unknown as StoredPreparation | null) ?? null;
  }

  /** Newest first. */
  async list(filter: DatasetFilter = {}, { signal }: CallOptions = {}): Promise<Dataset[]> {
    throwIfAborted(signal);
    const { name, domain, limit, offset } = parseFilter(filter);
    let query = this.#store.db.selectFrom("dataset").selectAll().where("deleted_at", "is", null);
    if (name !== undefined) query = query.where("name", "=", name);
    if (domain !== undefined) query = query.where("domain", "=", domain);
    const rows = await query.orderBy("created_at", "desc").orderBy("id").limit(limit).offset(offset).execute();
    return rows.map(toDataset);
  }

  /** The rows in their order, read in batches; a dataset deleted meanwhile ends in `dataset_not_found`, never in a short answer. */
  async *items(id: string, options: CallOptions & { split?: SplitName } = {}): AsyncIterable<DatasetItem> {
    requireSplit(options.split);
    await this.#row(id, options);
    let after = -1;
    for (;;) {
      throwIfAborted(options.signal);
      let query = this.#store.db.selectFrom("dataset_item").selectAll().where("dataset_id", "=", id).where("position", ">", after);
      if (options.split !== undefined) query = query.where("split", "=", options.split);
      const rows = await query.orderBy("position").limit(BATCH).execute();
      for (const row of rows) yield { sample: row.sample, split: row.split, group: row.group_key };
      if (rows.length < BATCH) break;
      after = rows[rows.length - 1]!.position;
    }
    await this.#row(id, options);
  }

  /** The rows in the order of their sample ids' bytes, read in batches, so that two datasets can be merged. */
  async *itemsBySample(id: string, { signal }: CallOptions = {}): AsyncIterable<DatasetItem> {
    await this.#row(id, { signal });
    let last: { sample_id: string; position: number } | undefined;
    for (;;) {
      throwIfAborted(signal);
      const sampleId = sql<string>`sample_id collate "C"`;
      let query = this.#store.db.selectFrom("dataset_item").selectAll().where("dataset_id", "=", id);
      if (last) query = query.where(sql<boolean>`(sample_id collate "C", position) > (${last.sample_id}, ${last.position})`);
      const rows = await query.orderBy(sampleId).orderBy("position").limit(BATCH).execute();
      for (const row of rows) yield { sample: row.sample, split: row.split, group: row.group_key };
      if (rows.length < BATCH) break;
      last = rows[rows.length - 1]!;
    }
    await this.#row(id, { signal });
  }

  /** What is left of a deleted dataset; null where it is there. @throws NotFoundError `dataset_not_found` */
  async tombstone(id: string, { signal }: CallOptions = {}): Promise<DatasetTombstone | null> {
    throwIfAborted(signal);
    const row = await this.#store.db.selectFrom("dataset").selectAll().where("id", "=", id).executeTakeFirst();
    if (!row) throw notFound(id);
    return row.deleted_at === null ? null : toTombstone(row, row.deleted_at);
  }

  /** Leaves a tombstone and takes the rows away. @throws ConflictError `dataset_in_use` where `references` names users of it. */
  async delete(id: string, references: readonly string[], { signal, reason }: CallOptions & { reason?: string } = {}): Promise<void> {
    throwIfAborted(signal);
    if (references.length > 0) {
      const shown = references.slice(0, 5).join(", ");
      throw new ConflictError(
        "dataset_in_use",
        `The dataset ${id} is used by ${shown}${references.length > 5 ? ", …" : ""}; it can be deleted once they are gone.`,
        {
          details: { id, references: references.slice(0, 100) },
        },
      );
    }
    await this.#store.db.transaction().execute(async (transaction) => {
      const deleted = await transaction
        .updateTable("dataset")
        .set({ deleted_at: new Date(), delete_reason: reason ?? null })
        .where("id", "=", id)
        .where("deleted_at", "is", null)
        .returning("id")
        .executeTakeFirst();
      if (!deleted) throw notFound(id);
      await transaction.deleteFrom("dataset_item").where("dataset_id", "=", id).execute();
    });
  }

  /**
   * Takes every row of a person, or with `feedbackIds` those that came from them, out of every dataset and marks those datasets; gives the
   * datasets' ids and the number of rows.
   */
  async eraseSubject(
    subjectId: string,
    options: CallOptions & { feedbackIds?: readonly string[]; transaction?: Executor } = {},
  ): Promise<{ datasetIds: string[]; items: number }> {
    const { feedbackIds } = options;
    throwIfAborted(options.signal);
    const work = async (executor: Executor): Promise<{ datasetIds: string[]; items: number }> => {
      const rows = await executor
        .deleteFrom("dataset_item")
        .where("subject_id", "=", subjectId)
        .$if(feedbackIds !== undefined, (query) => query.where(sql<boolean>`feedback_id = any(${[...(feedbackIds ?? [])]}::text[])`))
        .returning(["dataset_id", "sample_id"])
        .execute();
      const datasetIds = [...new Set(rows.map((row) => row.dataset_id))].sort();
      if (datasetIds.length > 0)
        await executor
          .updateTable("dataset")
          .set({ redacted_at: new Date(), lineage: lineageWithout([...new Set(rows.map((row) => row.sample_id))]) })
          .where("id", "in", datasetIds)
          .execute();
      return { datasetIds, items: rows.length };
    };
    return options.transaction ? work(options.transaction) : this.#store.db.transaction().execute(work);
  }

  async #row(id: string, options: CallOptions & { transaction?: Executor }): Promise<Selectable<DatasetTable>> {
    throwIfAborted(options.signal);
    const executor = options.transaction ?? this.#store.db;
    const row = await executor.selectFrom("dataset").selectAll().where("id", "=", id).executeTakeFirst();
    if (!row) throw notFound(id);
    if (row.deleted_at !== null) throw deleted(toTombstone(row, row.deleted_at));
    return row;
  }
}

function notFound(id: string): NotFoundError {
  return new NotFoundError(
    "dataset_not_found",
    `There is no dataset ${JSON.stringify(id)}. It may have been deleted; list() names those that exist.`,
    { details: { id } },
  );
}

function deleted(tombstone: DatasetTombstone): NotFoundError {
  const { id, name, version, deletedAt, reason } = tombstone;
  return new NotFoundError(
    "dataset_deleted",
    `The dataset ${id} (${JSON.stringify(name)}, version ${version}) was deleted at ${deletedAt}${reason ? `: ${reason}` : ""}. Its rows are gone; make a new version.`,
    { details: { ...tombstone } },
  );
}

/** The lineage without samples of an erased person. */
function lineageWithout(sampleIds: readonly string[]) {
  return sql<string>`case when lineage ? 'sampleIds' then jsonb_set(lineage, '{sampleIds}', coalesce(
    (select jsonb_agg(known.id order by known.place) from jsonb_array_elements_text(lineage -> 'sampleIds') with ordinality as known (id, place)
      where known.id <> all(${sampleIds}::text[])), '[]')) else lineage end`;
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortedError();
}

const Filter = z.strictObject({
  name: z.string().optional(),
  domain: z.string().optional(),
  limit: z.number().int().min(1).max(1000).default(100),
  offset: z.number().int().min(0).default(0),
});

function parseFilter(filter: DatasetFilter): z.output<typeof Filter> {
  const parsed = Filter.safeParse(filter);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  throw new ValidationError("input_invalid", `The filter is invalid${field === "" ? "" : ` at ${field}`}: ${issue?.message}.`, {
    details: { field },
  });
}

function requireSplit(split: SplitName | undefined): void {
  if (split === undefined || SplitName.safeParse(split).success) return;
  throw new ValidationError("input_invalid", `There is no split ${JSON.stringify(split)}. There are: ${SplitName.options.join(", ")}.`, {
    details: { field: "split" },
  });
}

function meanQuality(items: readonly DatasetItem[]): number {
  const sum = items.reduce((total, item) => total + item.sample.qualityScore, 0);
  return items.length === 0 ? 0 : sum / items.length;
}

function toRow(datasetId: string, position: number, item: DatasetItem) {
  const { sample, split, group } = item;
  return {
    dataset_id: datasetId,
    position,
    sample_id: sample.id,
    feedback_id: sample.feedbackId ?? null,
    subject_id: sample.subjectId ?? null,
    split,
    group_key: group,
    sample: JSON.stringify(sample),
  };
}

function toStoredPreparation({ options, report, ...counted }: NonNullable<NewDataset["preparation"]>): StoredPreparation {
  const all = new Removals(0);
  for (const { sampleId, reason } of report.removed) all.add(sampleId, reason);
  const reasons = counted.reasons ?? all.reasons;
  // Quoted words of people are left out, so that what is kept may outlive an erasure.
  const removed = report.removed
    .slice(0, KEPT_REMOVALS)
    .map(({ sampleId, reason }) => ({ sampleId, reason: reason.replace(/"[^"]*"/g, "…") }));
  return { options, received: report.received, kept: report.kept, reasons, removed };
}

function toTombstone(row: Selectable<DatasetTable>, deletedAt: Date): DatasetTombstone {
  return {
    id: row.id,
    name: row.name,
    version: row.version,
    contentHash: row.content_hash,
    samples: row.item_count,
    createdAt: row.created_at.toISOString(),
    deletedAt: deletedAt.toISOString(),
    ...(row.delete_reason === null ? {} : { reason: row.delete_reason }),
  };
}

function toDataset(row: Selectable<DatasetTable>): Dataset {
  return {
    id: row.id,
    name: row.name,
    ...(row.description === null ? {} : { description: row.description }),
    version: row.version,
    contentHash: row.content_hash,
    ...(row.domain === null ? {} : { domain: row.domain }),
    splits: row.splits,
    quality: Math.min(1, Math.max(0, row.quality)),
    statistics: row.statistics,
    lineage: row.lineage,
    createdAt: row.created_at.toISOString(),
  };
}
