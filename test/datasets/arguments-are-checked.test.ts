import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DatasetManager, readDocuments } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import type { DocumentInput, Embedder } from "../../src/types/index.js";
import { createHarness, describeEachDatabase } from "../setup/index.js";

const samples = [{ prompt: "What does the permit cost?", response: "The permit costs forty euros at the office." }];
const withEmbedder = (store: Store, name: string, embed: unknown) =>
  new DatasetManager({ store, embedder: { name, dimensions: 3, embed: embed as Embedder["embed"] } });

describe("arguments that would leave something out without a word", () => {
  const harness = createHarness("embedded");
  let store: Store;
  let datasets: DatasetManager;
  let id: string;
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store });
    ({ id } = await datasets.create({ name: "checked", samples }));
  });
  afterAll(() => harness.reset());

  it.each<[string, () => Promise<unknown>]>([
    ["prepareTrainingData", () => datasets.prepareTrainingData(samples, { removeDuplicate: false } as never)],
    ["its holdout", () => datasets.prepareTrainingData(samples, { holdout: { recal: false } } as never)],
    ["its holdout of another kind", () => datasets.prepareTrainingData(samples, { holdout: "none" } as never)],
    ["create", () => datasets.create({ name: "checked", samples, domian: "building" } as never)],
    ["its preparation", () => datasets.create({ name: "checked", samples, preparation: { minQualty: 0.9 } as never })],
    ["import", () => datasets.import([JSON.stringify(samples[0])], { format: "jsonl", name: "checked", prepared: false } as never)],
    ["export, which would give held-out rows too", () => datasets.export(id, { format: "jsonl", splits: "train" } as never)],
    [
      "readDocuments, which would show a tenant's documents to all",
      () => readDocuments("a.txt", { default: { tenant: "a" } } as never).next(),
    ],
    ["list", () => datasets.list({ nam: "checked" } as never)],
    [
      "items",
      () =>
        datasets
          .items(id, { split: "trian" as never })
          [Symbol.asyncIterator]()
          .next(),
    ],
  ])("are refused by %s", async (_where, call) => {
    await expect(call()).rejects.toMatchObject({ code: "input_invalid" });
  });

  it.each<[string, (texts: string[]) => unknown]>([
    ["nothing", () => undefined],
    ["null for a text", (texts) => texts.map(() => null)],
    ["numbers whose length is no number", (texts) => texts.map(() => [1e308, 1e308, 1e308, 1e308])],
  ])("are no vectors: %s", async (name, embed) => {
    const odd = withEmbedder(store, name, async (texts: string[]) => embed(texts));
    await expect(odd.addDocuments([{ content: "The permit costs forty euros." }])).rejects.toMatchObject({
      code: "engine_response_invalid",
    });
    await expect(odd.search({ queryText: "permit" })).rejects.toMatchObject({ code: "engine_response_invalid" });
  });

  it("may be vectors with numbers too small for the database", async () => {
    const tiny = withEmbedder(store, "tiny", async (texts: string[]) => texts.map(() => [1, 1e-50, -1e-320]));
    expect(await tiny.addDocuments([{ content: "The permit costs fifty euros now." }])).toMatchObject({ added: 1 });
  });

  it("hold nobody up: an embedder that never answers ends with the caller's signal", async () => {
    const hanging = withEmbedder(store, "hanging", () => new Promise(() => {}));
    const calls = [
      (signal: AbortSignal) => hanging.addDocuments([{ content: "The permit costs forty euros." }], { signal }),
      (signal: AbortSignal) => hanging.search({ queryText: "permit" }, { signal }),
      (signal: AbortSignal) => hanging.reembed({ signal }),
    ];
    for (const call of calls) {
      const controller = new AbortController();
      const answer = call(controller.signal);
      setImmediate(() => controller.abort());
      await expect(answer).rejects.toMatchObject({ code: "aborted" });
    }
  });
});

describeEachDatabase("a search", (harness) => {
  let datasets: DatasetManager;
  beforeAll(async () => {
    datasets = new DatasetManager({ store: await harness.open() });
  });

  const found = async (filters: object) =>
    (await datasets.search({ queryText: "permit", filters })).map(({ id, metadata }) => [id, metadata.title]);

  it("finds a document by what was said of it last", async () => {
    const document: DocumentInput = { id: "fees", content: "The permit costs forty euros at the office.", documentType: "note" };
    const copy: DocumentInput = { ...document, id: "copy", documentType: "law" };
    await datasets.addDocuments([document]);
    expect(await datasets.addDocuments([document, copy])).toMatchObject({ added: 0, skipped: 2 });
    const corrected = { ...document, documentType: "law", title: "Fees", date: "2026-01-01" };
    expect(await datasets.addDocuments([corrected])).toMatchObject({ added: 1, skipped: 0 });
    expect(await found({ documentType: "note" })).toEqual([]);
    expect(await found({ documentType: "law", from: "2026-01-01" })).toEqual([["fees#0", "Fees"]]);
    expect((await datasets.corpusStatistics()).documents).toBe(1);
  });

  it("refuses weights that no database can multiply", async () => {
    for (const keyword of [1e308, 5e-324]) {
      await expect(datasets.search({ queryText: "permit", weights: { keyword } })).rejects.toMatchObject({ code: "input_invalid" });
    }
    for (const keyword of [1e6, 1e-6]) {
      const [first] = await datasets.search({ queryText: "permit", weights: { keyword, vector: 0, graph: 1e6 } });
      expect(first?.score).toBeGreaterThanOrEqual(0);
    }
  });
});
