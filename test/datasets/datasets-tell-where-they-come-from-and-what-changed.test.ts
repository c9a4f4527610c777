import { beforeAll, expect, it } from "vitest";
import { type DatasetChange, DatasetManager } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import type { DatasetItem } from "../../src/types/index.js";
import { describeEachStore } from "../setup/index.js";

function row(id: string, changes: Partial<DatasetItem["sample"]> = {}, split: DatasetItem["split"] = "train"): DatasetItem {
  const sample = { id, prompt: `Frage ${id}`, response: `Antwort ${id}`, objective: "imitate", rating: 1, importance: 3 } as const;
  return { sample: { ...sample, domain: "recht", source: "test", qualityScore: 1, ...changes }, split, group: `group ${id}` };
}

describeEachStore("a dataset", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store });
  });

  async function diffOf(before: DatasetItem[], after: DatasetItem[], name: string) {
    const first = await datasets.create({ name, items: before });
    const second = await datasets.create({ name, items: after });
    const changes: DatasetChange[] = [];
    for await (const change of datasets.changes(first.id, second.id)) changes.push(change);
    return { diff: await datasets.diff(first.id, second.id), changes };
  }

  it("remembers the samples that it was made of, and those only that became rows", async () => {
    const samples = [
      { id: "s1", prompt: "Wo ist das Büro?", response: "Im ersten Stock links." },
      { id: "s2", prompt: "Wo ist das Archiv?", response: "asdfghjkl" },
    ];
    const { id } = await datasets.create({ name: "from samples", samples });
    expect((await datasets.get(id)).lineage).toEqual({ source: "samples", sampleIds: ["s1"] });
  });

  it("remembers the query that it was made of, and its results", async () => {
    const content = "Die Genehmigung für Photovoltaik ist schriftlich zu beantragen und wird binnen vier Wochen erteilt.";
    await datasets.addDocuments([{ id: "law", title: "Photovoltaik", content, domain: "recht" }]);
    const { id } = await datasets.create({ name: "from a query", query: { queryText: "Photovoltaik Genehmigung", topK: 5 } });
    const { lineage } = await datasets.get(id);
    const [found] = await datasets.search({ queryText: "Photovoltaik Genehmigung", topK: 5 });
    expect(lineage).toMatchObject({ source: "query", sampleIds: [found!.id] });
    expect(JSON.parse(lineage.query!)).toMatchObject({ queryText: "Photovoltaik Genehmigung", topK: 5 });
  });

  it("remembers how much feedback it was made of, and keeps its lineage bounded", async () => {
    const feedback = Array.from({ length: 3 }, (_, index) => ({
      prompt: `Wie geht Antrag ${index}?`,
      response: `So geht er: ${index}.`,
      rating: 1,
    }));
    const { lineage } = await datasets.create({ name: "from feedback", feedback, lineage: { cycleId: "c1" } });
    expect(lineage).toMatchObject({ source: "feedback", feedbackIds: 3, cycleId: "c1" });
    expect(lineage.sampleIds).toHaveLength(3);
    const items = Array.from({ length: 1500 }, (_, index) => row(`n${index}`));
    const large = await datasets.create({ name: "from many", items });
    expect(large.lineage.sampleIds).toEqual(items.slice(0, 1000).map((item) => item.sample.id));
  });

  it("is compared with another by sample id and content, also by split", async () => {
    const { diff, changes } = await diffOf(
      [row("a"), row("b"), row("c"), row("d", {}, "recall")],
      [row("b", { response: "Anders", rating: 0.5 }), row("c", {}, "recall"), row("d", {}, "recall"), row("e", {}, "preference")],
      "compared",
    );
    expect(diff).toMatchObject({ added: 1, removed: 1, changed: 2, unchanged: 1, before: { version: 1 }, after: { version: 2 } });
    expect(diff.splits).toEqual({
      train: { before: 3, after: 1, added: 0, removed: 1, changed: 1 },
      recall: { before: 1, after: 2, added: 0, removed: 0, changed: 1 },
      generalisation: { before: 0, after: 0, added: 0, removed: 0, changed: 0 },
      preference: { before: 0, after: 1, added: 1, removed: 0, changed: 0 },
    });
    expect(changes.map(({ kind, sampleId, fields }) => [kind, sampleId, fields])).toEqual([
      ["removed", "a", undefined],
      ["changed", "b", ["rating", "response"]],
      ["changed", "c", ["split"]],
      ["added", "e", undefined],
    ]);
    expect(changes[1]).toMatchObject({ before: { sample: { response: "Antwort b" } }, after: { sample: { response: "Anders" } } });
  });

  it("has no differences to itself, and any id keeps its place in the comparison", async () => {
    // Code units, bytes and a language's collation order these differently.
    const ids = ["ä", "z", "Z", "a", "\u{1F600}", "\uFFFD", "\uE000", "a b", "a-b", "ab", "'", "%"];
    const items = [...ids.map((id) => row(id)), row("twice"), row("twice", { response: "Zweite Antwort" })];
    const { diff } = await diffOf(items, items.toReversed().slice(1), "ordered");
    expect(diff).toMatchObject({ added: 0, removed: 1, changed: 0, unchanged: items.length - 1 });
    const same = await datasets.create({ name: "ordered", items });
    expect(await datasets.diff(same.id, same.id)).toMatchObject({ added: 0, removed: 0, changed: 0, unchanged: items.length });
  });

  it("is compared over many batches", async () => {
    const items = Array.from({ length: 1600 }, (_, index) => row(`n${index}`));
    const { diff, changes } = await diffOf(items, [...items.slice(700), row("new")], "compared in batches");
    expect(diff).toMatchObject({ added: 1, removed: 700, changed: 0, unchanged: 900 });
    expect(changes).toHaveLength(701);
    const controller = new AbortController();
    const first = datasets.changes(diff.before.id, diff.after.id, { signal: controller.signal })[Symbol.asyncIterator]();
    await first.next();
    controller.abort();
    await expect(first.next()).rejects.toMatchObject({ code: "aborted" });
  });
});
