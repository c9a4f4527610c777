import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { DocumentInput, SearchType } from "../../src/types/index.js";
import type { Uds3 } from "../../src/uds3/index.js";
import { type Databases, openDatabases } from "./support/databases.js";

const LAW = "§ 58 der Landesbauordnung regelt, wann die Baugenehmigung zu erteilen ist. Die untere Baurechtsbehörde entscheidet.";

const documents: DocumentInput[] = [
  {
    id: "permit",
    title: "Baugenehmigung",
    content: LAW,
    documentType: "law",
    domain: "recht",
    source: "lbo.pdf",
    date: "2020-03-01",
    metadata: { entities: ["Baurechtsbehörde", "Landesbauordnung"], page: 4 },
  },
  {
    id: "solar",
    title: "Photovoltaik auf Dächern",
    content: "Photovoltaikanlagen auf Häusern sind in der Regel verfahrensfrei, wenn sie dem Dach folgen und nicht darüber hinausragen.",
    documentType: "guide",
    domain: "recht",
    date: "2024-06-30",
    metadata: { entities: ["Landesbauordnung", "Photovoltaik"] },
  },
  {
    id: "keys",
    title: "The chapel",
    // too short to be of full quality
    content: "The chapel opens with key B12.",
    documentType: "guide",
    domain: "office",
    date: "2025-01-15T10:00:00Z",
    metadata: { entities: ["Caretaker"] },
  },
];

describe("a search over PostgreSQL, Chroma and Neo4j", () => {
  let databases: Databases;
  let uds3: Uds3;

  beforeAll(async () => {
    databases = await openDatabases();
    uds3 = databases.connect();
    await uds3.setup();
    expect(await uds3.addDocuments(documents)).toEqual({ added: 3, skipped: 0, rejected: [] });
  });
  afterAll(() => databases.close());

  const ids = async (queryText: string, searchTypes: SearchType[], filters = {}): Promise<string[]> =>
    (await uds3.search({ queryText, searchTypes, filters })).map(({ id }) => id);

  test("fuses what the three legs found, each score 0..1", async () => {
    const results = await uds3.search({ queryText: "Wann erteilt die Baurechtsbehörde die Baugenehmigung?", topK: 3 });
    expect(results[0]).toMatchObject({ id: "permit", content: LAW, source: "lbo.pdf" });
    expect(Object.keys(results[0]!.scores).sort()).toEqual(["graph", "keyword", "vector"]);
    expect(results[0]!.metadata).toMatchObject({
      documentId: "permit",
      title: "Baugenehmigung",
      documentType: "law",
      domain: "recht",
      page: 4,
    });
    for (const { score, scores } of results)
      for (const one of [score, ...Object.values(scores)]) expect(one).toSatisfy((value: number) => value >= 0 && value <= 1);
  });

  test("finds inflected German and English words", async () => {
    expect(await ids("Haus", ["keyword"])).toEqual(["solar"]);
    expect(await ids("opening chapels", ["keyword"])).toEqual(["keys"]);
  });

  test("follows the graph from a named entity to documents whose text does not have the word", async () => {
    expect(await ids("Was sagt die Landesbauordnung dazu?", ["graph"])).toEqual(expect.arrayContaining(["permit", "solar"]));
    const [solar] = (await uds3.search({ queryText: "Landesbauordnung", searchTypes: ["graph"] })).filter(({ id }) => id === "solar");
    expect(solar?.content).toContain("Photovoltaikanlagen");
    expect(documents[1]!.content).not.toContain("Landesbauordnung");
  });

  test.each<SearchType>(["keyword", "graph"])("gives of a long text that the %s leg found its first 8,192 characters", async (leg) => {
    const content = `Kirchenregister. ${"Im Register steht jeder Taufname mit Tag und Ort. ".repeat(400)}`;
    await uds3.addDocuments([{ id: "register", content, metadata: { entities: ["Kirchenregister"] } }]);
    const [result] = await uds3.search({ queryText: "Kirchenregister", searchTypes: [leg] });
    await uds3.removeDocuments(["register"]);
    expect(result).toMatchObject({ id: "register", content: content.slice(0, 8192) });
  });

  test("follows no more relations than the mapping allows", async () => {
    const near = databases.connect({ mapping: { ...databases.mapping, neo4j: { ...databases.mapping.neo4j, maxHops: 1 } } });
    await databases.cypher(
      `MATCH (keys:${databases.mapping.neo4j.documentLabel} {document_id: 'keys'}), (permit:${databases.mapping.neo4j.documentLabel} {document_id: 'permit'}) MERGE (keys)-[:RELATED_TO]->(permit)`,
    );
    const query = { queryText: "Baurechtsbehörde", searchTypes: ["graph"] as SearchType[] };
    const far = await uds3.search(query);
    expect(far.map(({ id }) => id)).toEqual(["permit", "keys"]);
    expect(far[0]!.score).toBeGreaterThan(far[1]!.score);
    expect((await near.search(query)).map(({ id }) => id)).toEqual(["permit"]);
  });

  test.each<SearchType>(["vector", "keyword", "graph"])("applies every filter inside the %s leg", async (leg) => {
    const question = "Landesbauordnung Photovoltaik Baugenehmigung chapel caretaker";
    const all = await uds3.search({ queryText: question, searchTypes: [leg] });
    expect(all.map(({ id }) => id).sort()).toEqual(["keys", "permit", "solar"]);
    expect(await ids(question, [leg], { documentType: "law" })).toEqual(["permit"]);
    expect(await ids(question, [leg], { domain: "office" })).toEqual(["keys"]);
    expect(await ids(question, [leg], { from: "2024-06-30", to: "2024-06-30" })).toEqual(["solar"]);
    expect(await ids(question, [leg], { from: "2025-01-15T10:00:00Z" })).toEqual(["keys"]);
    expect((await ids(question, [leg], { to: "2025-01-15T10:59:00+01:00" })).sort()).toEqual(["permit", "solar"]);
    expect((await ids(question, [leg], { minQuality: 1 })).sort()).toEqual(["permit", "solar"]);
    expect((await ids(question, [leg], { minQuality: 0.1 })).sort()).toEqual(["keys", "permit", "solar"]);
    expect(await ids(question, [leg], { minQuality: 1, domain: "office" })).toEqual([]);
  });

  test.each(["weighted", "rrf"] as const)("gives 1 at most and for what is first everywhere nearly that, fused %s", async (fusion) => {
    const [best] = await databases.connect({ fusion }).search({ queryText: LAW, topK: 1 });
    expect(best).toMatchObject({ id: "permit" });
    expect(best!.score).toBeLessThanOrEqual(1);
    if (fusion === "rrf") expect(best!.score).toBeCloseTo(1, 5);
    else expect(best!.score).toBeGreaterThan(0.5);
  });

  test("weighs the legs as the query says", async () => {
    const question = { queryText: "Baurechtsbehörde? It opens with key B12.", topK: 3 };
    const [byWords] = await uds3.search({ ...question, weights: { keyword: 1, vector: 0, graph: 0 } });
    const [byGraph] = await uds3.search({ ...question, weights: { keyword: 0, vector: 0, graph: 1 } });
    expect([byWords!.id, byGraph!.id]).toEqual(["keys", "permit"]);
  });

  test.each(["cosine", "l2", "ip"] as const)("scores vectors by their cosine in a collection whose space is %s", async (space) => {
    const name = `${databases.mapping.chroma.collection}-${space}`;
    const collection = await databases.chroma.createCollection({ name, embeddingFunction: null, configuration: { hnsw: { space } } });
    const question = "Wer erteilt die Baugenehmigung?";
    const [asked = [], stored = []] = await databases.embedder.embed([question, LAW]);
    await collection.upsert({ ids: ["permit"], embeddings: [stored], documents: [LAW] });
    const [result] = await databases
      .connect({ mapping: { ...databases.mapping, chroma: { collection: name } } })
      .search({ queryText: question, searchTypes: ["vector"] });
    const product = asked.reduce((sum, value, index) => sum + value * stored[index]!, 0);
    expect(product).toBeGreaterThan(0.1);
    expect(result!.scores.vector).toBeCloseTo(product / (Math.hypot(...asked) * Math.hypot(...stored)), 4);
  });

  test("reads a collection that Chroma's Python client made with an embedding function of its own", async () => {
    const name = `${databases.mapping.chroma.collection}-python`;
    const response = await fetch(`${databases.urls.chroma}/api/v2/tenants/default_tenant/databases/default_database/collections`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name, configuration: { embedding_function: { type: "known", name: "default", config: {} } } }),
    });
    expect(response.status).toBe(200);
    const other = databases.connect({ mapping: { ...databases.mapping, chroma: { collection: name } } });
    const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
    try {
      await other.search({ queryText: "Baugenehmigung", searchTypes: ["vector"] });
      const byTheClient = warnings.mock.calls.length;
      for (let again = 0; again < 3; again += 1)
        expect(await other.search({ queryText: "Baugenehmigung", searchTypes: ["vector"] })).toEqual([]);
      // The client itself warns when it reads such a collection; not at each search.
      expect(warnings.mock.calls.length).toBe(byTheClient);
    } finally {
      warnings.mockRestore();
    }
  });

  test("goes on with a collection that was deleted and made anew, and says when there is none", async () => {
    const name = `${databases.mapping.chroma.collection}-anew`;
    const other = databases.connect({ mapping: { ...databases.mapping, chroma: { collection: name } } });
    const query = { queryText: LAW, searchTypes: ["vector" as const] };
    const [vector = []] = await databases.embedder.embed([LAW]);
    for (const round of ["first", "second"]) {
      const collection = await databases.chroma.createCollection({ name, embeddingFunction: null });
      await collection.upsert({ ids: [round], embeddings: [vector], documents: [LAW] });
      expect((await other.search(query)).map(({ id }) => id)).toEqual([round]);
      await databases.chroma.deleteCollection({ name });
    }
    await expect(other.search(query)).rejects.toMatchObject({ code: "config_invalid", details: { leg: "vector" } });
  });

  test("is set up by several processes at once, and again, without harm", async () => {
    const own = {
      ...databases.mapping,
      postgres: { table: "made_together" },
      chroma: { collection: `${databases.mapping.chroma.collection}-together` },
    };
    await Promise.all(Array.from({ length: 4 }, () => databases.connect({ mapping: own }).setup()));
    const uds3 = databases.connect({ mapping: own });
    await uds3.setup();
    expect(await uds3.search({ queryText: "nothing yet", searchTypes: ["vector", "keyword"] })).toEqual([]);
  });

  test("refuses a filter that the mapping maps to nothing, instead of leaving it out", async () => {
    const without = databases.connect({
      mapping: { ...databases.mapping, neo4j: { ...databases.mapping.neo4j, properties: { domain: null } } },
    });
    await expect(without.search({ queryText: "Landesbauordnung", filters: { domain: "recht" } })).rejects.toMatchObject({
      code: "capability_missing",
      details: { leg: "graph", database: "neo4j", filter: "domain" },
    });
  });

  test("keeps no document of a tenant, and answers no tenant's question: its databases know none", async () => {
    const uds3 = databases.connect();
    const document = { content: "Die Sitzung des Gemeinderats ist am Montag im kleinen Saal des Rathauses.", tenant: "ulm" };
    expect(await uds3.addDocuments([document])).toMatchObject({
      added: 0,
      rejected: [{ index: 0, reason: expect.stringMatching(/^tenant: /) }],
    });
    await expect(uds3.search({ queryText: "Landesbauordnung", filters: { tenant: "ulm" } })).rejects.toMatchObject({
      code: "capability_missing",
      details: { filter: "tenant" },
    });
  });
});
