import { beforeAll, expect, it } from "vitest";
import { DatasetManager } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import { Dataset, type DatasetItem, type Sample } from "../../src/types/index.js";
import { describeEachStore } from "../setup/index.js";

function pairs(from: number, count: number, changes: Partial<Sample> = {}): (Partial<Sample> & { prompt: string; response: string })[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `sample-${from + index}`,
    prompt: `Welche Gebühr gilt für Antrag ${from + index}?`,
    response: `Die Gebühr für Antrag ${from + index} beträgt ${from + index + 5} Euro.`,
    ...changes,
  }));
}

async function read(items: AsyncIterable<DatasetItem>): Promise<DatasetItem[]> {
  const read: DatasetItem[] = [];
  for await (const item of items) read.push(item);
  return read;
}

describeEachStore("a dataset", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  let references: string[] = [];
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store, references: async () => references });
  });

  it("is read again as it was made", async () => {
    const samples = pairs(0, 60, { subjectId: "user-1", domain: "recht" });
    const prepared = await datasets.prepareTrainingData(samples);
    const dataset = await datasets.create({
      name: "read again",
      description: "Gebühren",
      domain: "recht",
      samples,
      lineage: { cycleId: "c1" },
    });
    expect(Dataset.safeParse(dataset).success).toBe(true);
    expect(dataset).toMatchObject({
      version: 1,
      domain: "recht",
      lineage: { cycleId: "c1" },
      splits: { train: 57, generalisation: 3, recall: 0 },
    });
    expect(await datasets.get(dataset.id)).toEqual(dataset);
    expect(await read(datasets.items(dataset.id))).toEqual(prepared.items);
    const heldOut = await read(datasets.items(dataset.id, { split: "generalisation" }));
    expect(heldOut).toEqual(prepared.items.filter((item) => item.split === "generalisation"));
  });

  it("keeps its version for the same rows in any order, and gets the next for others", async () => {
    const first = await datasets.create({ name: "versions", samples: pairs(0, 5) });
    const same = await datasets.create({ name: "versions", samples: pairs(0, 5).reverse() });
    const other = await datasets.create({ name: "versions", samples: pairs(0, 6) });
    const elsewhere = await datasets.create({ name: "versions elsewhere", samples: pairs(0, 5) });
    expect(same).toEqual(first);
    expect(other).toMatchObject({ version: 2 });
    expect(other.contentHash).not.toBe(first.contentHash);
    expect(elsewhere).toMatchObject({ version: 1, contentHash: first.contentHash });
  });

  it("gets a version of its own when many are made at once", async () => {
    const made = await Promise.all(
      Array.from({ length: 12 }, (_, index) => new DatasetManager({ store }).create({ name: "at once", samples: pairs(index * 10, 3) })),
    );
    expect(made.map((dataset) => dataset.version).sort((left, right) => left - right)).toEqual(
      Array.from({ length: 12 }, (_, index) => index + 1),
    );
    const again = await Promise.all(Array.from({ length: 6 }, () => datasets.create({ name: "at once, same rows", samples: pairs(0, 3) })));
    expect(new Set(again.map((dataset) => dataset.id)).size).toBe(1);
  });

  it("appears with its transaction, or not at all", async () => {
    const undone = store.db.transaction().execute(async (transaction) => {
      const dataset = await datasets.create({ name: "undone", samples: pairs(0, 3) }, { transaction });
      expect(await datasets.get(dataset.id, { transaction })).toEqual(dataset);
      throw new Error("changed my mind");
    });
    await expect(undone).rejects.toThrow("changed my mind");
    expect(await datasets.list({ name: "undone" })).toEqual([]);
    const done = await store.db
      .transaction()
      .execute((transaction) => datasets.create({ name: "done", samples: pairs(0, 3) }, { transaction }));
    expect(await datasets.get(done.id)).toEqual(done);
  });

  it("takes prepared rows as they stand", async () => {
    const { items } = await datasets.prepareTrainingData(pairs(0, 30));
    const dataset = await datasets.create({ name: "prepared", items });
    expect(await read(datasets.items(dataset.id))).toEqual(items);
    expect((await datasets.analyze(dataset.id)).preparation).toBeNull();
  });

  it("is read in batches, and may hold more rows than one", async () => {
    const items: DatasetItem[] = pairs(0, 1234).map((pair, index) => ({
      sample: { ...pair, objective: "imitate", rating: 1, importance: 3, domain: "recht", source: "test", qualityScore: 1 } as Sample,
      split: index % 10 === 0 ? "recall" : "train",
      group: String(index),
    }));
    const dataset = await datasets.create({ name: "large", items });
    expect((await read(datasets.items(dataset.id))).map((item) => item.group)).toEqual(items.map((item) => item.group));
    expect(await read(datasets.items(dataset.id, { split: "recall" }))).toHaveLength(124);
  });

  it("works with one line, and does not exist with none", async () => {
    expect((await datasets.create({ name: "one line", samples: pairs(0, 1) })).splits).toMatchObject({ train: 1, recall: 0 });
    await expect(datasets.create({ name: "no line", samples: [] })).rejects.toMatchObject({
      code: "dataset_empty",
      details: { name: "no line", received: 0 },
    });
    const junk = datasets.create({ name: "only junk", samples: [{ prompt: "Wo?", response: "asdfghjkl" }] });
    await expect(junk).rejects.toMatchObject({ code: "dataset_empty", message: expect.stringContaining("quality_repetition") });
  });

  it.each([
    ["a short name", { name: "ab", samples: pairs(0, 1) }, "name"],
    ["a long name", { name: "a".repeat(101), samples: pairs(0, 1) }, "name"],
    ["a domain that is no slug", { name: "abc", domain: "Recht & Ordnung", samples: pairs(0, 1) }, "domain"],
    ["a wrong item", { name: "abc", items: [{ split: "train" }] as unknown as DatasetItem[] }, "sample"],
  ])("refuses %s", async (_what, input, field) => {
    await expect(datasets.create(input)).rejects.toMatchObject({ code: "input_invalid", details: { field } });
  });

  it("is made of one thing only", async () => {
    await expect(datasets.create({ name: "nothing given" })).rejects.toMatchObject({
      code: "input_invalid",
      message: expect.stringContaining("none was given"),
    });
    await expect(datasets.create({ name: "too much", samples: pairs(0, 1), feedback: [] })).rejects.toMatchObject({
      code: "input_invalid",
    });
  });

  it("refuses text that no database can hold, naming the row", async () => {
    const items: DatasetItem[] = (await datasets.prepareTrainingData(pairs(0, 3), { holdout: false })).items;
    for (const response of ["a\u0000b", "a\uD800b"]) {
      const broken = items.with(1, { ...items[1]!, sample: { ...items[1]!.sample, response } });
      await expect(datasets.create({ name: "broken text", items: broken })).rejects.toMatchObject({
        code: "input_invalid",
        details: { index: 1, field: "response" },
      });
    }
  });

  it("is made of feedback without ever imitating a thumb down", async () => {
    const prompt = "Wo ist der Sicherungskasten?";
    const dataset = await datasets.create({
      name: "from feedback",
      feedback: [
        { prompt, response: "Weiß ich nicht, frag jemanden.", rating: -1, correction: "Im Keller neben der Tür.", subjectId: "a" },
        { prompt, response: "Auf dem Dach, glaube ich.", rating: -1 },
        { prompt: "Wann öffnet das Büro?", response: "Um 9:00 Uhr.", rating: 1 },
        { prompt, response: "Das ist nicht bewertet worden.", rating: 0 },
        { generationId: "g1", rating: 1 },
      ],
    });
    const rows = await read(datasets.items(dataset.id));
    expect(rows.map((row) => [row.split, row.sample.response]).sort()).toEqual([
      ["preference", "Auf dem Dach, glaube ich."],
      ["train", "Im Keller neben der Tür."],
      ["train", "Um 9:00 Uhr."],
    ]);
    const { preparation } = await datasets.analyze(dataset.id);
    expect(preparation).toMatchObject({ received: 5, kept: 3, reasons: { no_signal: 1, no_text: 1 } });
  });

  it("is listed by name and domain, newest first, in pages", async () => {
    for (const count of [1, 2, 3]) await datasets.create({ name: "listed", domain: "listing", samples: pairs(0, count) });
    expect((await datasets.list({ name: "listed" })).map((dataset) => dataset.version)).toEqual([3, 2, 1]);
    expect((await datasets.list({ domain: "listing", limit: 1, offset: 1 })).map((dataset) => dataset.version)).toEqual([2]);
    expect(await datasets.list({ name: "x' or 1=1 --" })).toEqual([]);
    await expect(datasets.list({ limit: 0 })).rejects.toMatchObject({ code: "input_invalid" });
  });

  it("is not deleted while something uses it, and never gives its version number away", async () => {
    const dataset = await datasets.create({ name: "deleted", samples: pairs(0, 2) });
    references = ["job 17"];
    await expect(datasets.delete(dataset.id)).rejects.toMatchObject({
      code: "dataset_in_use",
      details: { id: dataset.id, references: ["job 17"] },
    });
    references = [];
    expect(await datasets.tombstone(dataset.id)).toBeNull();
    await datasets.delete(dataset.id, { reason: "wrong department" });
    const { id, name, version, contentHash, createdAt } = dataset;
    const tombstone = {
      ...{ id, name, version, contentHash, createdAt, samples: 2, reason: "wrong department" },
      deletedAt: expect.stringMatching(/^20.*Z$/),
    };
    expect(await datasets.tombstone(id)).toEqual(tombstone);
    const gone = { code: "dataset_deleted", message: expect.stringContaining("wrong department"), details: tombstone };
    await expect(datasets.get(id)).rejects.toMatchObject(gone);
    await expect(datasets.delete(id)).rejects.toMatchObject(gone);
    await expect(read(datasets.items(id))).rejects.toMatchObject(gone);
    await expect(datasets.diff(id, id)).rejects.toMatchObject(gone);
    expect((await store.db.selectFrom("dataset_item").selectAll().where("dataset_id", "=", id).execute()).length).toBe(0);
    expect(await datasets.list({ name: "deleted" })).toEqual([]);
    expect(await datasets.create({ name: "deleted", samples: pairs(0, 2) })).toMatchObject({
      version: 2,
      contentHash: dataset.contentHash,
    });
  });

  it("that does not exist is an error that names it", async () => {
    for (const call of [
      () => datasets.get("dataset_none"),
      () => datasets.tombstone("dataset_none"),
      () => datasets.diff("dataset_none", "dataset_none"),
      () => datasets.analyze("dataset_none"),
      () => datasets.export("dataset_none", { format: "jsonl" }),
    ]) {
      await expect(call()).rejects.toMatchObject({ code: "dataset_not_found", message: expect.stringContaining('"dataset_none"') });
    }
  });

  it("gives its statistics, the quality of its rows and the reasons", async () => {
    const samples = [
      ...pairs(0, 20, { subjectId: "a" }),
      ...pairs(20, 20, { subjectId: "b" }),
      { prompt: pairs(0, 1)[0]!.prompt, response: "Sie kostet gar nichts, versprochen." },
    ];
    const dataset = await datasets.create({ name: "analysed", samples: [...samples, { prompt: "Wo?", response: "asdfghjkl" }] });
    const analysis = await datasets.analyze(dataset.id);
    expect(analysis.statistics).toEqual(dataset.statistics);
    expect(analysis.statistics).toMatchObject({ samples: 41, groups: 41, subjects: 2 });
    expect(analysis.contradictions).toBe(1);
    expect(analysis.quality).toMatchObject({ failed: 0 });
    expect(analysis.quality.histogram.reduce((sum, count) => sum + count, 0)).toBe(41);
    expect(analysis.quality.mean).toBeGreaterThan(0.9);
    expect(analysis.preparation).toMatchObject({ received: 42, kept: 41, reasons: { quality_repetition: 1 } });
  });

  it("loses a person's rows when the person is erased, and only those", async () => {
    const dataset = await datasets.create({
      name: "erased",
      samples: [...pairs(0, 5, { subjectId: "erase me" }), ...pairs(5, 5, { subjectId: "stays" })],
    });
    expect(await datasets.eraseSubject("erase me")).toEqual({ datasetIds: [dataset.id], items: 5 });
    const left = await read(datasets.items(dataset.id));
    expect(left.map((row) => row.sample.subjectId)).toEqual(new Array(5).fill("stays"));
    expect(await datasets.eraseSubject("erase me")).toEqual({ datasetIds: [], items: 0 });
    expect((await datasets.get(dataset.id)).lineage.sampleIds?.sort()).toEqual(left.map((row) => row.sample.id).sort());
  });

  it("is not made when the call was aborted", async () => {
    const signal = AbortSignal.abort();
    await expect(datasets.create({ name: "aborted", samples: pairs(0, 3) }, { signal })).rejects.toMatchObject({ code: "aborted" });
    expect(await datasets.list({ name: "aborted" })).toEqual([]);
  });
});
