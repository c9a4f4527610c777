import { sql } from "kysely";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DatasetManager, PlainEntityExtractor } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import type { DocumentInput, EntityExtractor, SearchResult } from "../../src/types/index.js";
import { describeEachDatabase } from "../setup/index.js";

const idsOf = (results: readonly SearchResult[]) => results.map((result) => result.metadata.documentId);

/** Reads entities as [[name]] and relations as name -> name. */
const brackets: EntityExtractor = {
  name: "brackets",
  extract: async (texts) =>
    texts.map((text) => ({
      entities: [...text.matchAll(/\[\[(.+?)\]\]/g)].map((match) => ({ name: match[1]! })),
      relations: [...text.matchAll(/\[\[(\w+)\]\] -> \[\[(\w+)\]\]/g)].map((match) => ({
        from: match[1]!,
        to: match[2]!,
        kind: "leads to",
      })),
    })),
};

/** Alpha -> Beta -> Gamma -> Delta -> Omega, one relation in each document. */
const chain: DocumentInput[] = [
  { id: "one", content: "Here [[Alpha]] -> [[Beta]] is said, and nothing else is.", domain: "left" },
  { id: "two", content: "Here [[Beta]] -> [[Gamma]] is said, and nothing else is.", domain: "left" },
  { id: "three", content: "Here [[Gamma]] -> [[Delta]] is said, and nothing else is.", domain: "right" },
  { id: "four", content: "Here [[Delta]] -> [[Omega]] is said, and nothing else is.", domain: "left" },
  { id: "alone", content: "Here [[Lonely]] is mentioned, and nothing else is at all.", domain: "left" },
];

describeEachDatabase("graph search", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  const graph = (queryText: string, more: object = {}) => datasets.search({ queryText, searchTypes: ["graph"], ...more });
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store, entityExtractor: brackets });
    await datasets.addDocuments(chain);
  });

  it("finds what mentions the query's entities, whatever their case, and says so", async () => {
    const [best] = await graph("What of LONELY?");
    expect(best).toMatchObject({ metadata: { documentId: "alone" }, scores: { graph: 0.75 }, reasons: ["graph: Lonely"] });
  });

  it("follows relations as far as it is told, weaker with each hop, and shows the path", async () => {
    expect(idsOf(await graph("alpha", { hops: 0 }))).toEqual(["one"]);
    expect(idsOf(await graph("alpha", { hops: 1 }))).toEqual(["one", "two"]);
    expect(idsOf(await graph("alpha"))).toEqual(["one", "two", "three"]);
    const results = await graph("alpha", { hops: 3 });
    expect(idsOf(results)).toEqual(["one", "two", "three", "four"]);
    expect(results.map(({ scores }) => scores.graph)).toEqual([0.75, 0.75 / 4, 0.75 / 16, 0.75 / 64]);
    expect(results[3]!.reasons).toEqual(["graph: Alpha → Beta → Gamma → Delta"]);
    await expect(graph("alpha", { hops: 4 })).rejects.toMatchObject({ code: "input_invalid" });
  });

  it("follows relations both ways", async () => {
    expect(idsOf(await graph("omega", { hops: 1 }))).toEqual(["four", "three"]);
  });

  it("follows no relation that only a filtered document states", async () => {
    expect(idsOf(await graph("delta", { filters: { domain: "left" } }))).toEqual(["four"]);
    expect(idsOf(await graph("gamma", { filters: { domain: "left" }, hops: 3 }))).toEqual(["two", "one"]);
  });

  it("is no part of the score where the graph knows nothing of the query", async () => {
    const [result] = await datasets.search({ queryText: "mentioned" });
    expect(result!.scores.graph).toBeUndefined();
    expect(result!.score).toBeCloseTo(result!.scores.keyword!, 9);
  });

  it("forgets entities with the last document that speaks of them", async () => {
    await datasets.addDocuments([{ id: "secret", content: "Only here is [[Rosebud]] -> [[Alpha]] mentioned, ever." }]);
    expect(idsOf(await graph("rosebud", { hops: 0 }))).toEqual(["secret"]);
    await datasets.addDocuments([{ id: "secret", content: "Now [[Sledge]] is mentioned here, and nothing else is." }]);
    expect(await graph("rosebud")).toEqual([]);
    await datasets.removeDocuments(["secret"]);
    const { rows } = await sql<{ name: string }>`select name from clara.corpus_entity order by name`.execute(store.db);
    expect(rows.map(({ name }) => name)).toEqual(["alpha", "beta", "delta", "gamma", "lonely", "omega"]);
  });

  it("takes what an extractor says as text only, and refuses what does not fit", async () => {
    const wild: EntityExtractor = {
      name: "wild",
      extract: async (texts) =>
        texts.map(() => ({
          entities: [{ name: "'; drop table clara.corpus_entity; --" }, { name: "" }, { name: "\u0000" }, { name: "x".repeat(9000) }],
          relations: [
            { from: "a\u0000", to: "b", kind: "k" },
            { from: "same", to: "SAME", kind: "k" },
          ],
        })),
    };
    const manager = new DatasetManager({ store, entityExtractor: wild });
    expect(await manager.addDocuments([{ id: "wild", content: "Nothing of interest is written in this document." }])).toMatchObject({
      added: 1,
    });
    expect(idsOf(await manager.search({ queryText: "drop table clara corpus_entity", searchTypes: ["graph"] }))).toEqual(["wild"]);
    await manager.removeDocuments(["wild"]);
    const short = new DatasetManager({ store, entityExtractor: { name: "short", extract: async () => [] } });
    await expect(short.addDocuments([{ content: "This one gets no answer from its extractor." }])).rejects.toMatchObject({
      code: "engine_response_invalid",
      details: { extractor: "short" },
    });
  });

  it("stays small where everything is related to everything", async () => {
    const names = Array.from({ length: 12 }, (_, index) => `Hub${index}`);
    const dense = Array.from({ length: 60 }, (_, index) => ({
      id: `dense${index}`,
      content: `Text ${index}: ${names.map((name, place) => `[[${name}]] -> [[${names[(place + index + 1) % 12]}]]`).join(", ")}.`,
    }));
    await datasets.addDocuments(dense);
    const results = await graph(names.join(" "), { hops: 3, topK: 100 });
    expect(results).toHaveLength(60);
    expect(results.every(({ score }) => score > 0 && score <= 1)).toBe(true);
    await datasets.removeDocuments(dense.map(({ id }) => id));
  });
});

describe("the plain extractor", () => {
  const namesOf = async (text: string) => (await new PlainEntityExtractor().extract([text]))[0]!.entities.map(({ name }) => name);

  it("finds paragraphs, standards and numbers of things", async () => {
    expect(await namesOf("Nach § 34 Abs. 2 BauGB und DIN 18040 ist das zulässig, siehe G92.")).toEqual([
      "§ 34 Abs. 2 BauGB",
      "DIN 18040",
      "G92",
    ]);
  });

  it("finds names of several words without the article before them", async () => {
    expect(await namesOf("Die Stadtwerke München liefern den Strom.")).toEqual(["Stadtwerke München", "Strom"]);
    expect(await namesOf("We asked the Bank of England and Mary Jones about it.")).toEqual(["Bank of England", "Mary Jones"]);
  });

  it("finds pairs of content words where nouns are not capitalised", async () => {
    expect(await namesOf("the laminar boundary layer of the wing")).toEqual(["laminar boundary", "boundary layer"]);
  });

  it("relates what stands in one sentence, and nothing across sentences", async () => {
    const [graph] = await new PlainEntityExtractor().extract(["Der Antrag geht an die Bauaufsicht. Das Amt prüft die Statik."]);
    expect(graph!.relations).toEqual([
      { from: "Antrag", to: "Bauaufsicht", kind: "co-occurs" },
      { from: "Amt", to: "Statik", kind: "co-occurs" },
    ]);
  });

  it("stays within its bounds and time on any text", async () => {
    for (const unit of ["Aa ", "§ ", "A1 ", "a", "Aa of ", "A-", "ab cd "]) {
      const [graph] = await new PlainEntityExtractor().extract([unit.repeat(20_000)]);
      expect(new Set(graph!.entities.map(({ name }) => name)).size).toBeLessThanOrEqual(16);
      expect(graph!.relations.length).toBeLessThanOrEqual(24);
    }
  });
});

describeEachDatabase("a corpus whose extractor was changed", (harness) => {
  /** Finds what stands in braces, and nothing in brackets. */
  const braces: EntityExtractor = {
    name: "braces",
    extract: async (texts) =>
      texts.map((text) => {
        const names = [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
        return {
          entities: names.map((name) => ({ name })),
          relations: names.slice(1).map((to, index) => ({ from: names[index]!, to, kind: "next to" })),
        };
      }),
  };
  const documents = Array.from({ length: 300 }, (_, index) => ({
    id: `text-${index}`,
    content: `Number ${index} has [[Old${index}]] -> [[Shared]] and {New${index}} beside {Common}, which is said of all.`,
  }));
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  beforeEach(async () => {
    await new DatasetManager({ store }).removeDocuments(documents.map(({ id }) => id));
  });
  const labels = async () =>
    (await store.db.selectFrom("corpus_entity").select("label").orderBy("label").execute()).map(({ label }) => label);

  it("has what the new one finds once it was looked through again, and nothing else", async () => {
    await new DatasetManager({ store, entityExtractor: brackets }).addDocuments(documents);
    const datasets = new DatasetManager({ store, entityExtractor: braces });
    const graph = (queryText: string) => datasets.search({ queryText, searchTypes: ["graph"], topK: 1000 });
    expect(idsOf(await graph("Old7")).includes("text-7")).toBe(true);
    expect(await graph("New7")).toEqual([]);
    const seen: unknown[] = [];
    const options = { onProgress: ({ received, total }: { received: number; total?: number }) => seen.push([received, total]) };
    expect(await datasets.reextract(options)).toEqual({ extracted: 300 });
    expect(seen).toEqual([
      [128, 300],
      [256, 300],
      [300, 300],
    ]);
    expect(await graph("Old7")).toEqual([]);
    const found = await graph("New7");
    expect(found[0]).toMatchObject({ metadata: { documentId: "text-7" } });
    expect(found.length).toBe(300);
    expect(await labels()).toEqual(["Common", ...documents.map((_, index) => `New${index}`)].sort());
    expect((await datasets.corpusStatistics()).chunksByExtractor).toEqual({ braces: 300 });
    expect(await datasets.reextract()).toEqual({ extracted: 0 });
  });

  it("goes on where it was interrupted, and leaves alone what others changed meanwhile", async () => {
    await new DatasetManager({ store, entityExtractor: null }).addDocuments(documents);
    let calls = 0;
    const interrupted: EntityExtractor = {
      name: "braces",
      extract: async (texts) => {
        calls += 1;
        if (calls === 1) {
          await datasets.removeDocuments(["text-0"]);
          await datasets.addDocuments([{ id: "text-1", content: "Here is another text, and it speaks of {Replacement} alone." }]);
        }
        if (calls === 3) throw new Error("the extractor went away");
        return braces.extract(texts);
      },
    };
    const datasets = new DatasetManager({ store, entityExtractor: braces });
    const first = new DatasetManager({ store, entityExtractor: interrupted });
    await expect(first.reextract()).rejects.toThrow("the extractor went away");
    expect((await datasets.corpusStatistics()).chunksByExtractor).toEqual({ "": 44, braces: 255 });
    expect(await datasets.reextract()).toEqual({ extracted: 44 });
    const all = await labels();
    expect(all).toContain("Replacement");
    expect(all).not.toContain("New0");
    expect(all).not.toContain("New1");
    expect(all.length).toBe(300);
  });

  it("says that there is none to look with", async () => {
    const datasets = new DatasetManager({ store, entityExtractor: null });
    await expect(datasets.reextract()).rejects.toMatchObject({ code: "config_invalid" });
  });
});
