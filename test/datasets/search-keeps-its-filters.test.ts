import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import { Corpus } from "../../src/datasets/corpus.js";
import { DatasetManager, PlainEntityExtractor, QualityChecker } from "../../src/datasets/index.js";
import { HybridSearch } from "../../src/datasets/search/hybrid-search.js";
import type { Store } from "../../src/store/index.js";
import type { DocumentInput, Embedder, SearchQuery, SearchResult } from "../../src/types/index.js";
import { describeEachDatabase } from "../setup/index.js";

/** Every text is a little similar to every other, so that every text that passes the filters is a result. */
const everyDirection: Embedder = {
  name: "every-direction",
  dimensions: 8,
  embed: async (texts) =>
    texts.map((text) =>
      Array.from({ length: 8 }, (_, place) => 0.2 + ((text.length * 31 + text.charCodeAt(place % text.length) * 7) % (place + 11))),
    ),
};

const domains = ["recht", "stadt", "bau"];
const types = ["regulation", "manual", "note", undefined];
const tenants = ["north", "south", undefined];
const many: DocumentInput[] = Array.from({ length: 240 }, (_, index) => ({
  id: `d${index}`,
  content: `${index % 5 === 0 ? "Kurz." : `Vorgang ${index} betrifft den Antrag auf Strom im Bezirk ${index % 23}, den das Amt für Umwelt prüft.`} ${index}`,
  domain: index % 60 === 0 ? "rare" : domains[index % 3]!,
  documentType: types[index % 4],
  tenant: tenants[(index >> 2) % 3],
  date: `20${String(10 + (index % 15)).padStart(2, "0")}-0${1 + (index % 9)}-11`,
}));

const filtersOf = fc.record(
  {
    domain: fc.constantFrom(...domains, "rare", "nowhere"),
    documentType: fc.constantFrom("regulation", "manual", "note"),
    tenant: fc.constantFrom("north", "south", "nobody"),
    minQuality: fc.constantFrom(0, 0.5, 0.9),
    from: fc.constantFrom("2012-01-01", "2020-06-01"),
    to: fc.constantFrom("2012-12-31", "2022-01-01T00:00:00Z"),
  },
  { requiredKeys: [] },
);

type Filters = NonNullable<SearchQuery["filters"]>;
interface Row {
  domain: string;
  document_type: string | null;
  tenant: string | null;
  quality: number;
  date: Date | null;
}

function passes(row: Row, filters: Filters): boolean {
  const until = filters.to === undefined ? undefined : filters.to.length === 10 ? `${filters.to}T23:59:59.999Z` : filters.to;
  return (
    (row.tenant === null || row.tenant === filters.tenant) &&
    (filters.domain === undefined || row.domain === filters.domain) &&
    (filters.documentType === undefined || row.document_type === filters.documentType) &&
    (filters.minQuality === undefined || row.quality >= filters.minQuality) &&
    (filters.from === undefined || (row.date !== null && row.date >= new Date(filters.from))) &&
    (until === undefined || (row.date !== null && row.date <= new Date(until)))
  );
}

const rowOf = ({ metadata }: SearchResult): Row => ({
  domain: metadata.domain as string,
  document_type: (metadata.documentType as string | undefined) ?? null,
  tenant: (metadata.tenant as string | undefined) ?? null,
  quality: metadata.quality as number,
  date: metadata.date === undefined ? null : new Date(metadata.date as string),
});

describeEachDatabase("search filters", (harness) => {
  let store: Store;
  let search: HybridSearch;
  let rows: Row[];
  beforeAll(async () => {
    store = await harness.open();
    const parts = { store, embedder: everyDirection, extractor: new PlainEntityExtractor() };
    expect(await new Corpus({ ...parts, quality: new QualityChecker(), indexFromChunks: 50 }).addDocuments(many)).toMatchObject({
      added: 240,
    });
    search = new HybridSearch(parts);
    rows = await store.db.selectFrom("corpus_chunk").select(["domain", "document_type", "tenant", "quality", "date"]).execute();
  });

  it("hold for every result, and as many results come as there are, up to k", async () => {
    await fc.assert(
      fc.asyncProperty(
        filtersOf,
        fc.constantFrom(1, 7, 40, 300),
        fc.constantFrom<SearchQuery["searchTypes"]>(["vector"], undefined),
        fc.constantFrom("Antrag auf Strom im Bezirk 7", "kurz", "Amt für Umwelt"),
        async (filters, topK, searchTypes, queryText) => {
          const results = await search.search({ queryText, topK, searchTypes, filters });
          expect(results.filter((result) => !passes(rowOf(result), filters))).toEqual([]);
          expect(results).toHaveLength(Math.min(topK, rows.filter((row) => passes(row, filters)).length));
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each([["keyword"], ["graph"]] as const)(
    "hold inside the %s leg: what they leave is what is found without them, less what they take",
    async (leg) => {
      const query = { queryText: "Antrag auf Strom beim Amt für Umwelt", searchTypes: [leg], topK: 1000 };
      await fc.assert(
        fc.asyncProperty(filtersOf, async (filters) => {
          const all = (await Promise.all(["north", "south"].map((tenant) => search.search({ ...query, filters: { tenant } })))).flat();
          const expected = new Set(all.filter((result) => passes(rowOf(result), filters)).map(({ id }) => id));
          const found = await search.search({ ...query, filters });
          expect(found.map(({ id }) => id).sort()).toEqual([...expected].sort());
        }),
        { numRuns: 15 },
      );
    },
  );
});

describeEachDatabase("tenants", (harness) => {
  let datasets: DatasetManager;
  const text = (who: string) => `Der geheime Vorgang von ${who} betrifft die Anlage namens Rosenbogen und wird im Amt verwahrt.`;
  beforeAll(async () => {
    datasets = new DatasetManager({ store: await harness.open(), embedder: everyDirection });
    await datasets.addDocuments([
      { id: "a", tenant: "alpha", content: text("Alpha") },
      { id: "b", tenant: "beta", content: text("Beta") },
      { id: "all", content: text("allen") },
    ]);
  });
  const idsOf = async (tenant?: string, searchTypes?: SearchQuery["searchTypes"]) =>
    (await datasets.search({ queryText: "Rosenbogen Alpha Beta", searchTypes, filters: { tenant } }))
      .map(({ metadata }) => metadata.documentId)
      .sort();

  it.each([undefined, ["vector"], ["keyword"], ["graph"]] as SearchQuery["searchTypes"][])(
    "see their own documents and everybody's, never another's (%s)",
    async (searchTypes) => {
      expect(await idsOf("alpha", searchTypes)).toEqual(["a", "all"]);
      expect(await idsOf("beta", searchTypes)).toEqual(["all", "b"]);
      expect(await idsOf("gamma", searchTypes)).toEqual(["all"]);
      expect(await idsOf(undefined, searchTypes)).toEqual(["all"]);
    },
  );

  it("can neither replace another's document nor learn by a skipped text that another has it", async () => {
    const result = await datasets.addDocuments([
      { id: "a", tenant: "beta", content: "Dieser Text soll den von Alpha unter dessen Kennung ersetzen." },
      { id: "a", content: "Dieser Text soll ihn für alle unter dessen Kennung ersetzen." },
      { id: "copy", tenant: "beta", content: text("Alpha") },
    ]);
    expect(result).toMatchObject({ added: 1, skipped: 0 });
    expect(result.rejected.map(({ index, reason }) => `${index} ${reason.split(":")[0]}`)).toEqual(["0 id_taken", "1 id_taken"]);
    expect(await idsOf("alpha")).toEqual(["a", "all"]);
    expect(await datasets.removeDocuments(["copy"])).toBe(1);
  });

  it("learn nothing of another's relations from a path", async () => {
    await datasets.addDocuments([
      { id: "link", tenant: "beta", content: "Die Firma Nordlicht kauft die Firma Südwind; Nordlicht und Südwind." },
      { id: "target", content: "Von Südwind ist hier die Rede, und das ist für alle da." },
    ]);
    const find = (tenant?: string) => datasets.search({ queryText: "Nordlicht", searchTypes: ["graph"], filters: { tenant } });
    expect((await find("beta")).map(({ metadata }) => metadata.documentId)).toContain("target");
    expect(await find("alpha")).toEqual([]);
    expect(await find()).toEqual([]);
  });
});
