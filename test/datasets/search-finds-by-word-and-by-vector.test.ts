import fc from "fast-check";
import { sql } from "kysely";
import { beforeAll, describe, expect, it } from "vitest";
import { Corpus } from "../../src/datasets/corpus.js";
import { DatasetManager, QualityChecker } from "../../src/datasets/index.js";
import { HybridSearch } from "../../src/datasets/search/hybrid-search.js";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import type { Store } from "../../src/store/index.js";
import { type DocumentInput, type Embedder, type SearchQuery, SearchResult } from "../../src/types/index.js";
import { describeEachDatabase } from "../setup/index.js";

const documents: DocumentInput[] = [
  {
    id: "pv",
    title: "Photovoltaik",
    content: "Für Anlagen der Photovoltaik auf Dächern ist in der Regel keine Genehmigung der Behörde nötig, wohl aber eine Meldung.",
    documentType: "regulation",
    domain: "recht",
    date: "2024-03-15",
    source: "gesetzblatt",
    metadata: { page: 7 },
  },
  {
    id: "bau",
    title: "Bauantrag",
    content: "Der Antrag auf Genehmigung eines Gebäudes wird schriftlich bei der Bauaufsicht gestellt; Häuser brauchen einen Lageplan.",
    documentType: "regulation",
    domain: "recht",
    date: "2023-06-01",
  },
  {
    id: "greenhouse",
    title: "Greenhouse",
    content: "The caretaker opens the greenhouse every morning at nine, and the fuse box of the greenhouses is above the wardrobe.",
    documentType: "manual",
    domain: "building",
    date: "2025-01-10T12:00:00Z",
  },
  { id: "short", content: "Müllabfuhr dienstags.", domain: "building", documentType: "note" },
];

/** Knows synonyms by heart, so that vectors find what words do not. */
const topics: Embedder = {
  name: "topics",
  dimensions: 3,
  embed: async (texts) =>
    texts.map((text) =>
      [/photovoltaik|solar|sonne/i, /antrag|bauen|gebäude/i, /greenhouse|caretaker|janitor/i].map((topic) => (topic.test(text) ? 1 : 0)),
    ),
};

const idsOf = (results: readonly SearchResult[]) => results.map((result) => result.metadata.documentId);

/** The same database, as one that lacks pgvector. */
function withoutPgvector(store: Store): Store {
  return Object.assign(Object.create(store) as Store, { capabilities: { ...store.capabilities, vector: false } });
}

describeEachDatabase("search", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store, embedder: topics });
    expect(await datasets.addDocuments(documents)).toEqual({ added: 4, skipped: 0, rejected: [] });
  });

  it("by keyword finds other forms of a word in the language of each document", async () => {
    const keyword = (queryText: string) => datasets.search({ queryText, searchTypes: ["keyword"] });
    expect(idsOf(await keyword("Haus"))).toEqual(["bau"]);
    expect(idsOf(await keyword("Welche Genehmigungen brauche ich für Photovoltaik?"))[0]).toBe("pv");
    expect(idsOf(await keyword("opening a greenhouse"))).toEqual(["greenhouse"]);
    expect(await keyword("Raumschiff")).toEqual([]);
  });

  it("by keyword understands quotes and exclusions", async () => {
    const keyword = (queryText: string) => datasets.search({ queryText, searchTypes: ["keyword"] });
    expect(idsOf(await keyword("Genehmigung")).sort()).toEqual(["bau", "pv"]);
    expect(idsOf(await keyword("Genehmigung -Photovoltaik"))).toEqual(["bau"]);
    expect(idsOf(await keyword('"fuse box"'))).toEqual(["greenhouse"]);
    expect(idsOf(await keyword('"box fuse"'))).toEqual([]);
  });

  it("by vector finds what shares no word", async () => {
    const results = await datasets.search({ queryText: "Solaranlage der Sonne", searchTypes: ["vector"], topK: 1 });
    expect(idsOf(results)).toEqual(["pv"]);
    expect(results[0]!.scores).toEqual({ vector: expect.closeTo(1, 5) });
  });

  it("fuses the legs by their weights, each within 0..1", async () => {
    const weights = { vector: 0.6, keyword: 0.2 };
    const results = await datasets.search({ queryText: "Sonne und Genehmigung", weights, searchTypes: ["vector", "keyword"] });
    expect(idsOf(results)).toEqual(["pv", "bau"]);
    for (const result of results) {
      expect(SearchResult.safeParse(result).success).toBe(true);
      expect(result.score).toBeCloseTo(((result.scores.vector ?? 0) * 0.6 + (result.scores.keyword ?? 0) * 0.2) / 0.8, 6);
    }
    expect(results[0]!.scores.vector).toBeCloseTo(1, 5);
    expect(results[1]!.scores.keyword).toBeGreaterThan(0.2);
  });

  it("fuses by reciprocal rank and weight, where the first place in every leg is 1", async () => {
    const legs = ["vector", "keyword"] as const;
    const query = {
      queryText: "Sonne und Genehmigung",
      fusion: "rrf" as const,
      searchTypes: [...legs],
      weights: { vector: 0.75, keyword: 0.25 },
    };
    const results = await datasets.search(query);
    const ranks = await Promise.all(legs.map(async (leg) => idsOf(await datasets.search({ ...query, searchTypes: [leg] }))));
    expect(results).toHaveLength(2);
    for (const result of results) {
      const [byVector, byKeyword] = ranks
        .map((ids) => ids.indexOf(result.metadata.documentId))
        .map((place) => (place === -1 ? 0 : 61 / (61 + place)));
      expect(result.score).toBeCloseTo(0.75 * byVector! + 0.25 * byKeyword!, 9);
    }
    const [best] = await datasets.search({ ...query, queryText: "Photovoltaik" });
    expect(best).toMatchObject({ score: 1, metadata: { documentId: "pv" } });
  });

  it("says in short why each leg found a text", async () => {
    const [best] = await datasets.search({ queryText: "Genehmigung für Photovoltaik", topK: 1 });
    expect(best!.reasons).toEqual(["vector: cosine 1.00", "graph: Photovoltaik; Genehmigung", "keyword: photovolta, genehm"]);
  });

  it("gives each result its place of origin and its metadata", async () => {
    const [result] = await datasets.search({ queryText: "Photovoltaik", topK: 1 });
    expect(result).toMatchObject({
      source: "gesetzblatt",
      metadata: {
        page: 7,
        documentId: "pv",
        title: "Photovoltaik",
        documentType: "regulation",
        domain: "recht",
        date: "2024-03-15T00:00:00.000Z",
        language: "german",
      },
    });
  });

  it.each([
    ["document type", { documentType: "manual" }, ["greenhouse"]],
    ["domain", { domain: "recht" }, ["bau", "pv"]],
    ["first day", { from: "2024-03-15" }, ["greenhouse", "pv"]],
    ["last day, the whole of it", { to: "2025-01-10", from: "2025-01-10" }, ["greenhouse"]],
    ["last moment", { to: "2025-01-10T11:59:59Z" }, ["bau", "pv"]],
    ["quality", { minQuality: 0.9 }, ["bau", "greenhouse", "pv"]],
  ])("holds the filter by %s inside each leg", async (_what, filters, expected) => {
    const queryText = "Photovoltaik Bauantrag Antrag greenhouse Genehmigung Müllabfuhr";
    for (const searchTypes of [["vector"], ["keyword"], ["graph"], ["vector", "graph", "keyword"]] as const) {
      expect(idsOf(await datasets.search({ queryText, filters, searchTypes: [...searchTypes] })).sort()).toEqual(expected);
    }
  });

  it("names a leg that it cannot do instead of leaving it out", async () => {
    const withoutGraph = new DatasetManager({ store, embedder: topics, entityExtractor: null });
    await expect(withoutGraph.search({ queryText: "Frist", searchTypes: ["vector", "graph", "keyword"] })).rejects.toMatchObject({
      code: "capability_missing",
      details: { capability: "graph" },
    });
    const plain = new DatasetManager({ store });
    await expect(plain.search({ queryText: "Haus", searchTypes: ["vector"] })).rejects.toMatchObject({
      code: "capability_missing",
      details: { capability: "vector" },
    });
    expect(idsOf(await plain.search({ queryText: "Haus" }))).toEqual(["bau"]);
  });

  it("compares vectors one by one where pgvector is missing, up to a stated number", async () => {
    const stock = withoutPgvector(store);
    const queryText = "Sonne und Genehmigung";
    const exact = await new HybridSearch({ store: stock, embedder: topics }).search({ queryText });
    const indexed = await datasets.search({ queryText, searchTypes: ["vector", "keyword"] });
    expect(exact.map(({ id, score }) => [id, score.toFixed(5)])).toEqual(indexed.map(({ id, score }) => [id, score.toFixed(5)]));
    const limited = new HybridSearch({ store: stock, embedder: topics, exactLimit: 2 });
    await expect(limited.search({ queryText })).rejects.toMatchObject({
      code: "capability_missing",
      message: expect.stringContaining("2 texts"),
    });
    expect(idsOf(await limited.search({ queryText, filters: { domain: "recht" } }))).toEqual(["pv", "bau"]);
  });

  it.each([
    ["a filter that is not there", { queryText: "Antrag", filters: { tennant: "alpha" } }],
    ["a filter beside the filters", { queryText: "Antrag", tenant: "alpha" }],
    ["a weight of no leg", { queryText: "Antrag", weights: { words: 1 } }],
    ["an empty text", { queryText: "" }],
    ["too many results", { queryText: "a", topK: 1001 }],
    ["weights of nothing", { queryText: "a", weights: { vector: 0, graph: 0, keyword: 0 } }],
    ["weights of nothing for the chosen legs", { queryText: "a", searchTypes: ["graph" as const], weights: { graph: 0 } }],
    ["an unknown leg", { queryText: "a", searchTypes: ["telepathy" as "vector"] }],
    ["broken text", { queryText: "a\u0000b" }],
  ])("refuses %s", async (_what, query) => {
    await expect(datasets.search(query as SearchQuery)).rejects.toMatchObject({ code: "input_invalid" });
  });

  it("refuses documents and ids that are none, and changes nothing", async () => {
    const invalid = { code: "input_invalid" };
    for (const given of [undefined, null, 5, "Ein Text ist kein Dokument.", {}]) {
      await expect(datasets.addDocuments(given as never)).rejects.toMatchObject(invalid);
      await expect(datasets.removeDocuments(given as never)).rejects.toMatchObject(invalid);
    }
    const misspelt = { content: "Dieser Text gehört nur einem Mandanten, dessen Feld falsch geschrieben ist.", tennant: "alpha" };
    expect(await datasets.addDocuments([misspelt])).toMatchObject({
      added: 0,
      rejected: [{ index: 0, reason: expect.stringMatching(/^invalid: document: Unrecognized key: "tennant"\. .* metadata$/) }],
    });
    for (const id of ["a\u0000b", "\u0000"]) {
      await expect(datasets.removeDocuments([id])).rejects.toMatchObject(invalid);
      await expect(datasets.get(id)).rejects.toMatchObject(invalid);
    }
    await expect(datasets.resetSearch({ dommain: "recht" } as never)).rejects.toMatchObject(invalid);
    expect((await datasets.corpusStatistics()).documents).toBe(documents.length);
  });

  it("takes any text as a query, and as a text only (A23)", async () => {
    const attacks = [
      "'; drop table clara.corpus_chunk; --",
      "a' | !b & (c",
      "<-> :* ' \\' \\",
      '" OR 1=1',
      "'' $1 $$ %s {} \\\\",
      "a & b | ! <2> c:*A",
      "foo-bar/baz.qux@host:80 \\n",
    ];
    for (const queryText of attacks) await datasets.search({ queryText, filters: { documentType: queryText } });
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: fc.constantFrom(..."'\"\\&|!<>:*()-$%;aB ö1".split("")), minLength: 1, maxLength: 20 }),
        async (text) => {
          const results = await datasets.search({ queryText: text, searchTypes: ["keyword"] });
          expect(results.length).toBeLessThanOrEqual(4);
        },
      ),
      { numRuns: 60 },
    );
    expect((await datasets.corpusStatistics()).documents).toBe(4);
  });

  it("makes a dataset of what it finds", async () => {
    const dataset = await datasets.create({ name: "from search", query: { queryText: "Genehmigung", filters: { domain: "recht" } } });
    expect(dataset.statistics.samples).toBe(2);
    expect(JSON.parse(dataset.lineage.query!)).toMatchObject({ queryText: "Genehmigung", filters: { domain: "recht" } });
    for await (const { sample } of datasets.items(dataset.id)) expect(sample).toMatchObject({ source: "retrieved", domain: "recht" });
  });

  it("judges the relevance for a domain by its documents, when that is switched on", async () => {
    const { quality } = new DatasetManager({ store, embedder: topics, quality: { domainRelevance: true } });
    const relevance = async (prompt: string) =>
      (await quality.check({ prompt, response: "Das steht dort genau beschrieben." }, { domain: "recht" })).checks.find(
        (check) => check.name === "domain_relevance",
      )!.score;
    expect(await relevance("Braucht Photovoltaik eine Genehmigung?")).toBeGreaterThan(await relevance("Wie koche ich Nudeln?"));
  });
});

describeEachDatabase("a corpus", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  const fresh = async () => {
    await sql`truncate clara.corpus_document, clara.corpus_chunk, clara.corpus_embedder cascade`.execute(store.db);
    return new DatasetManager({ store, embedder: topics });
  };

  it("skips what it has, replaces what was rewritten, and says what it refuses", async () => {
    const datasets = await fresh();
    await datasets.addDocuments(documents);
    const [pv] = documents as [DocumentInput];
    async function* stream(): AsyncIterable<DocumentInput> {
      yield pv;
      yield { ...pv, id: undefined, content: `${pv.content}  ` };
      yield { ...pv, content: "Seit heute braucht auch die Photovoltaik eine Genehmigung, so will es das neue Gesetz über Windkraft." };
      yield { content: "" };
      yield { content: "GebÃ¼hren sind zu zahlen" };
      yield { content: "…?!" };
      yield { content: "a".repeat(2_000_001) };
      yield { content: "Mit schlechten Metadaten, die kein Speicher hält.", metadata: { bad: "\u0000" } };
      yield null as unknown as DocumentInput;
    }
    const seen: number[] = [];
    const result = await datasets.addDocuments(stream(), { onProgress: ({ received }) => seen.push(received) });
    expect(result).toMatchObject({ added: 1, skipped: 2 });
    expect(result.rejected.map(({ index, reason }) => `${index} ${reason.split(":")[0]}`)).toEqual([
      "3 invalid",
      "4 encoding",
      "5 empty",
      "6 too_large",
      "7 encoding",
      "8 invalid",
    ]);
    expect(seen.at(-1)).toBe(9);
    expect(await datasets.corpusStatistics()).toEqual({
      documents: 4,
      chunks: 4,
      chunksByEmbedder: { topics: 4 },
      chunksByExtractor: { "plain-v1": 4 },
    });
    expect(idsOf(await datasets.search({ queryText: "Windkraft", searchTypes: ["keyword"] }))).toEqual(["pv"]);
    expect(await datasets.search({ queryText: "Dächern", searchTypes: ["keyword"] })).toEqual([]);
    expect(await datasets.removeDocuments(["pv", "nobody"])).toBe(1);
    expect((await datasets.corpusStatistics()).chunks).toBe(3);
  });

  it("cuts long texts into chunks that can each be found", async () => {
    const datasets = await fresh();
    const content = Array.from(
      { length: 60 },
      (_, index) => `Absatz ${index} handelt von Stichwort${index} und von nichts anderem, denn mehr gibt es dazu nicht zu sagen.`,
    ).join("\n\n");
    expect(await datasets.addDocuments([{ id: "book", title: "Photovoltaik", content }])).toMatchObject({ added: 1 });
    expect((await datasets.corpusStatistics()).chunks).toBeGreaterThan(2);
    for (const index of [0, 31, 59]) {
      const [found] = await datasets.search({ queryText: `Stichwort${index}`, searchTypes: ["keyword"] });
      expect(found!.content).toContain(`Stichwort${index} `);
    }
  });

  it("keeps one copy when the same documents are added at once", async () => {
    const datasets = await fresh();
    const results = await Promise.all([
      datasets.addDocuments(documents),
      datasets.addDocuments([...documents].reverse()),
      new DatasetManager({ store, embedder: topics }).addDocuments(documents),
    ]);
    expect(results.reduce((sum, result) => sum + result.added, 0)).toBe(4);
    expect(await datasets.corpusStatistics()).toMatchObject({ documents: 4, chunks: 4 });
  });

  it("notices another embedder, and is right again after it was embedded anew", async () => {
    const datasets = await fresh();
    await datasets.addDocuments(documents);
    const other = new DatasetManager({ store, embedder: new LexicalEmbedder() });
    await expect(other.search({ queryText: "Photovoltaik" })).rejects.toMatchObject({
      code: "capability_missing",
      message: expect.stringContaining("reembed()"),
      details: { stored: "topics" },
    });
    const wider = new DatasetManager({
      store,
      embedder: { ...topics, dimensions: 4, embed: async (texts) => (await topics.embed(texts)).map((vector) => [...vector, 0.1]) },
    });
    await expect(wider.search({ queryText: "Photovoltaik" })).rejects.toMatchObject({
      code: "capability_missing",
      details: { dimensions: 4 },
    });
    expect(await other.reembed()).toEqual({ embedded: 4 });
    expect(idsOf(await other.search({ queryText: "Photovoltaik auf Dächern" }))[0]).toBe("pv");
    expect(await other.reembed()).toEqual({ embedded: 0 });
  });

  it("that was filled without an embedder is embedded later", async () => {
    await fresh();
    await new DatasetManager({ store }).addDocuments(documents);
    const datasets = new DatasetManager({ store, embedder: topics });
    await expect(datasets.search({ queryText: "Sonne", searchTypes: ["vector"] })).rejects.toMatchObject({ code: "capability_missing" });
    await datasets.reembed();
    expect(idsOf(await datasets.search({ queryText: "Sonne", searchTypes: ["vector"] }))).toEqual(["pv"]);
  });

  it("answers from the index as from comparing all, also behind a filter that few pass", async () => {
    await fresh();
    const embedder = new LexicalEmbedder();
    const quality = new QualityChecker();
    const many = Array.from({ length: 400 }, (_, index) => ({
      id: `d${index}`,
      content: `Vorgang ${index} betrifft den Antrag auf ${["Wasser", "Strom", "Gas", "Wärme"][index % 4]} im Bezirk ${index % 23}, Zeichen ${(index * 7919) % 1000}.`,
      domain: index % 50 === 0 ? "rare" : "common",
    }));
    await new Corpus({ store, embedder, quality, indexFromChunks: 100 }).addDocuments(many);
    const index = await sql<{
      count: string;
    }>`select count(*) as count from pg_indexes where indexname like 'corpus_chunk_embedding_%'`.execute(store.db);
    expect(Number(index.rows[0]!.count)).toBe(store.capabilities.vector ? 1 : 0);
    const indexed = new HybridSearch({ store, embedder });
    const exact = new HybridSearch({ store: withoutPgvector(store), embedder });
    const query = { queryText: "Antrag auf Strom im Bezirk 7", searchTypes: ["vector" as const], topK: 10 };
    const best = await exact.search(query);
    const found = await indexed.search(query);
    expect(found[0]!.id).toBe(best[0]!.id);
    expect(found.filter((result) => best.some(({ id }) => id === result.id)).length).toBeGreaterThanOrEqual(8);
    const rare = { ...query, filters: { domain: "rare" } };
    expect((await indexed.search(rare)).map(({ id }) => id)).toEqual((await exact.search(rare)).map(({ id }) => id));
    expect(await indexed.search(rare)).toHaveLength(8);
  });

  it("keeps what was added before the embedder failed, and says what failed", async () => {
    await fresh();
    let calls = 0;
    const failing: Embedder = { ...topics, embed: async (texts) => (++calls > 1 ? [[Number.NaN, 0, 0]] : topics.embed(texts)) };
    const datasets = new DatasetManager({ store, embedder: failing });
    const many = Array.from({ length: 100 }, (_, index) => ({
      content: `Dokument ${index} über Photovoltaik und über sonst gar nichts, was von Belang wäre.`,
    }));
    await expect(datasets.addDocuments(many)).rejects.toMatchObject({ code: "engine_response_invalid", details: { embedder: "topics" } });
    expect((await datasets.corpusStatistics()).documents).toBe(64);
  });

  it("stops between batches when aborted", async () => {
    const datasets = await fresh();
    const controller = new AbortController();
    async function* endless(): AsyncIterable<DocumentInput> {
      for (let index = 0; ; index += 1)
        yield { content: `Dokument ${index} über Photovoltaik und über sonst gar nichts, was von Belang wäre.` };
    }
    const adding = datasets.addDocuments(endless(), {
      signal: controller.signal,
      onProgress: ({ added }) => added >= 128 && controller.abort(),
    });
    await expect(adding).rejects.toMatchObject({ code: "aborted" });
    expect((await datasets.corpusStatistics()).documents).toBe(128);
  });
});

describe("chunks", () => {
  it("hold the whole text, each within its length", async () => {
    const { chunkText } = await import("../../src/datasets/chunking.js");
    const anyText = fc
      .array(fc.constantFrom("Wort", "langesWort", ".", "\n\n", "\n", " ", "🙂", "Satz. "), { maxLength: 300 })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(anyText, fc.integer({ min: 2, max: 600 }), (text, maxLength) => {
        const chunks = chunkText(text, maxLength);
        expect(chunks.join("").replace(/\s/gu, "")).toBe(text.replace(/\s/gu, ""));
        expect(chunks.every((chunk) => chunk.length <= maxLength && chunk.trim() === chunk && !/\p{Surrogate}/u.test(chunk))).toBe(true);
      }),
    );
  });
});

describeEachDatabase("the keyword score", (harness) => {
  const filler = "and some more is told of other things here";
  const documents: DocumentInput[] = [
    { id: "once", content: `A lantern is named, ${filler}` },
    { id: "often", content: `A lantern is a lantern, and a lantern it remains, more is told of here` },
    { id: "long", content: `A lantern is named, ${`${filler}, `.repeat(12)}` },
    { id: "titled", title: "Lantern", content: `This is named, ${filler}` },
    ...Array.from({ length: 12 }, (_, index) => ({
      id: `other-${index}`,
      content: `A kettle is named for the ${index}th time, ${filler}`,
    })),
  ].map((document) => ({ ...document, language: "english" as const }));

  it("grows with how often a word stands there for the length, more for a title, and stays below 1", async () => {
    const datasets = new DatasetManager({ store: await harness.open() });
    await datasets.addDocuments(documents);
    const results = await datasets.search({ queryText: "lantern", searchTypes: ["keyword"] });
    const scores = Object.fromEntries(results.map(({ metadata, score }) => [metadata.documentId as string, score]));
    expect(Object.keys(scores).sort()).toEqual(["long", "often", "once", "titled"]);
    expect(scores.often).toBeGreaterThan(scores.once!);
    expect(scores.titled).toBeGreaterThan(scores.once!);
    expect(scores.once).toBeGreaterThan(scores.long!);
    for (const score of Object.values(scores)) expect(score > 0 && score < 1).toBe(true);
    // However many are asked for, a text has the same score.
    const [best] = await datasets.search({ queryText: "lantern kettle", searchTypes: ["keyword"], topK: 1 });
    const many = await datasets.search({ queryText: "lantern kettle", searchTypes: ["keyword"], topK: 500 });
    expect(many[0]).toEqual(best);
    // The rare word decides.
    expect(best!.metadata.documentId).toBe("often");
  });
});
