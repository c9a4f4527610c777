import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { DatasetManager } from "../../src/datasets/index.js";
import { ndcg } from "../../src/datasets/search/ndcg.js";
import { saveTunedSettings } from "../../src/datasets/search/tuned-settings.js";
import { chooseSettings, type JudgedCandidates } from "../../src/datasets/search/tuning.js";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import type { Store } from "../../src/store/index.js";
import type { JudgedQuery, SearchQuery } from "../../src/types/index.js";
import { describeEachDatabase } from "../setup/index.js";

const topics = ["Wasser", "Strom", "Gas", "Wärme", "Abfall", "Verkehr"];
const places = ["Nord", "Süd", "West", "Ost"];
const documents = topics.flatMap((topic) =>
  places.map((place) => ({
    id: `${topic}-${place}`,
    content: `Der Antrag auf ${topic} im Bezirk ${place} ist beim Amt für ${topic} zu stellen.`,
  })),
);
const judged: JudgedQuery[] = topics.map((topic, index) => ({
  queryText: `Antrag ${topic} ${places[index % 4]}`,
  relevant: [`${topic}-${places[index % 4]}`],
}));

describeEachDatabase("tuned search", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store, embedder: new LexicalEmbedder() });
    await datasets.addDocuments(documents);
  });
  const ndcgOf = async (manager: DatasetManager, more: Partial<SearchQuery> = {}) => {
    let sum = 0;
    for (const { queryText, relevant } of judged) {
      const results = await manager.search({ queryText, ...more });
      const ids = [...new Set(results.map(({ metadata }) => metadata.documentId as string))];
      sum += ndcg(ids, new Map(relevant.map((id) => [id, 1])), 10);
    }
    return sum / judged.length;
  };

  it("reports what the same searches give, for each leg and for what it chose", async () => {
    const tuning = await datasets.tuneSearch(judged);
    for (const leg of ["vector", "keyword", "graph"] as const)
      expect(tuning.legs[leg]).toBeCloseTo(await ndcgOf(datasets, { searchTypes: [leg] }), 6);
    const tuned = new DatasetManager({ store, embedder: new LexicalEmbedder(), search: tuning.settings });
    expect(tuning.ndcg).toBeCloseTo(await ndcgOf(tuned), 6);
    expect(tuning.ndcg).toBeGreaterThanOrEqual(Math.max(...Object.values(tuning.legs)));
  });

  it("takes the ids of results for those of their documents", async () => {
    const byResult = judged.map(({ queryText, relevant }) => ({ queryText, relevant: relevant.map((id) => `${id}#0`) }));
    expect(await datasets.tuneSearch(byResult)).toEqual(await datasets.tuneSearch(judged));
  });

  it("is refused where nothing that was judged is found: any settings would be as good, those of a leg that finds nothing too", async () => {
    const unknown = judged.map(({ queryText }) => ({ queryText, relevant: ["of another corpus"] }));
    await expect(datasets.tuneSearch(unknown, { apply: true })).rejects.toMatchObject({ code: "input_invalid" });
    expect(await datasets.search({ queryText: "Antrag Gas" })).not.toEqual([]);
  });

  it("becomes the default only when it is told to, and a query's own words go first", async () => {
    const manager = new DatasetManager({ store, embedder: new LexicalEmbedder() });
    const [before] = await manager.search({ queryText: "Antrag Gas" });
    await manager.tuneSearch(judged);
    expect((await manager.search({ queryText: "Antrag Gas" }))[0]).toEqual(before);
    const { settings } = await manager.tuneSearch(judged, { apply: true });
    expect(await manager.search({ queryText: "Antrag Gas" })).toEqual(await manager.search({ queryText: "Antrag Gas", ...settings }));
    const [own] = await manager.search({ queryText: "Antrag Gas", searchTypes: ["vector"], weights: { vector: 1 } });
    expect(Object.keys(own!.scores)).toEqual(["vector"]);
  });

  it("is kept for every other process, until it is taken back", async () => {
    const other = () => new DatasetManager({ store, embedder: new LexicalEmbedder(), search: { searchTypes: ["keyword"] } });
    const { settings } = await datasets.tuneSearch(judged, { apply: true });
    expect(await other().search({ queryText: "Antrag Gas" })).toEqual(await other().search({ queryText: "Antrag Gas", ...settings }));
    expect(await other().resetSearch()).toBe(true);
    const [result] = await other().search({ queryText: "Antrag Gas" });
    expect(Object.keys(result!.scores)).toEqual(["keyword"]);
    expect(await other().resetSearch()).toBe(false);
  });

  it("holds for the tenant and the domain that it was found in; the narrower goes first", async () => {
    const legsOf = async (filters: SearchQuery["filters"]) => {
      const manager = new DatasetManager({ store, embedder: new LexicalEmbedder() });
      const [result] = await manager.search({ queryText: "Antrag Gas", filters });
      return Object.keys(result!.scores).sort().join();
    };
    const keep = (scope: { tenant?: string; domain?: string }, leg: "vector" | "graph" | "keyword") =>
      saveTunedSettings(store.db, scope, {
        searchTypes: [leg],
        fusion: "weighted",
        weights: { vector: 0, graph: 0, keyword: 0, [leg]: 1 },
      });
    const all = await legsOf({ domain: "general" });
    await keep({ domain: "general" }, "keyword");
    await keep({ tenant: "ada" }, "vector");
    expect(await legsOf({})).toBe(all);
    expect(await legsOf({ domain: "general" })).toBe("keyword");
    expect(await legsOf({ domain: "general", tenant: "ada" })).toBe("vector");
    await keep({ tenant: "ada", domain: "general" }, "graph");
    expect(await legsOf({ domain: "general", tenant: "ada" })).toBe("graph");
    expect(await legsOf({ tenant: "ada" })).toBe("vector");
    expect(await legsOf({ tenant: "bob" })).toBe(all);
    for (const scope of [{ domain: "general" }, { tenant: "ada" }, { tenant: "ada", domain: "general" }])
      expect(await datasets.resetSearch(scope)).toBe(true);
    expect(await legsOf({ domain: "general", tenant: "ada" })).toBe(all);
  });

  it("leaves out a leg that a process has nothing for", async () => {
    await saveTunedSettings(
      store.db,
      {},
      { searchTypes: ["vector", "keyword"], fusion: "weighted", weights: { vector: 0.6, graph: 0, keyword: 0.4 } },
    );
    const [result] = await new DatasetManager({ store }).search({ queryText: "Antrag Gas" });
    expect(Object.keys(result!.scores)).toEqual(["keyword"]);
    await datasets.resetSearch();
  });

  it.each([
    ["too few queries", judged.slice(0, 3)],
    ["a query without an answer", [...judged, { queryText: "Frage", relevant: [] }]],
    ["no list", null as unknown as JudgedQuery[]],
  ])("refuses %s", async (_what, queries) => {
    await expect(datasets.tuneSearch(queries)).rejects.toMatchObject({ code: "input_invalid" });
  });
});

describe("the choice of settings", () => {
  const legs = ["graph", "keyword", "vector"] as const;
  const finding = fc.record({ score: fc.double({ min: 0.01, max: 1, noNaN: true }), rank: fc.integer({ min: 1, max: 50 }) });
  const candidates = fc.array(fc.record({ vector: finding, keyword: finding, graph: finding }), { minLength: 3, maxLength: 12 });

  it("is never worse than the best single leg on the same queries", () => {
    fc.assert(
      fc.property(fc.array(candidates, { minLength: 4, maxLength: 8 }), (lists) => {
        const queries: JudgedCandidates[] = lists.map((list, index) => ({
          judged: { queryText: "q", relevant: [`d${index % list.length}`] },
          candidates: list.map((findings, place) => ({ id: `d${place}#0`, documentId: `d${place}`, findings })),
          legs: new Set(legs),
        }));
        const tuning = chooseSettings(queries, legs);
        expect(tuning.ndcg).toBeGreaterThanOrEqual(Math.max(...Object.values(tuning.legs)) - 1e-9);
        expect(tuning.crossValidatedNdcg).toBeGreaterThanOrEqual(tuning.legs[tuning.bestLeg]! - 1e-9);
        if (tuning.isFallback) expect(tuning.settings.searchTypes).toEqual([tuning.bestLeg]);
      }),
      { numRuns: 60 },
    );
  });

  it("mixes two legs that are each right where the other is wrong", () => {
    const right = { score: 1, rank: 1 };
    const wrong = { score: 0.4, rank: 2 };
    const nothing = { score: null, rank: null };
    const queries: JudgedCandidates[] = Array.from({ length: 10 }, (_, index) => ({
      judged: { queryText: "q", relevant: ["good"] },
      candidates: [
        {
          id: "good#0",
          documentId: "good",
          findings: index % 2 ? { vector: right, keyword: wrong, graph: nothing } : { vector: wrong, keyword: right, graph: nothing },
        },
        {
          id: "bad#0",
          documentId: "bad",
          findings: {
            vector: index % 2 ? wrong : { score: 0.6, rank: 1 },
            keyword: index % 2 ? { score: 0.6, rank: 1 } : wrong,
            graph: nothing,
          },
        },
      ],
      legs: new Set(["vector", "keyword"]),
    }));
    const tuning = chooseSettings(queries, ["keyword", "vector"]);
    expect(tuning).toMatchObject({ ndcg: 1, crossValidatedNdcg: 1, isFallback: false });
    expect(tuning.legs.vector).toBeLessThan(0.9);
  });
});

describe("nDCG", () => {
  it("is 1 for the ideal order, and discounts by the logarithm of the place", () => {
    const gains = new Map([
      ["a", 3],
      ["b", 1],
    ]);
    expect(ndcg(["a", "b", "c"], gains, 10)).toBe(1);
    expect(ndcg(["c", "a"], new Map([["a", 1]]), 10)).toBeCloseTo(1 / Math.log2(3), 9);
    expect(ndcg(["c", "a"], new Map([["a", 1]]), 1)).toBe(0);
  });
});
