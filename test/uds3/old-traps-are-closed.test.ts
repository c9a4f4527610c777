import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SearchType } from "../../src/types/index.js";
import type { Uds3 } from "../../src/uds3/index.js";
import { type Databases, openDatabases } from "./support/databases.js";

/** The table as UDS3 itself makes it: no text, no title, and columns that may not be null. */
const UDS3_TABLE = `create table documents (
  document_id text primary key, file_path text not null, classification text not null, content_length bigint not null,
  legal_terms_count bigint not null, created_at text not null, quality_score double precision, processing_status text default 'completed')`;

describe("on databases that UDS3 made", () => {
  let databases: Databases;
  let uds3: Uds3;

  beforeAll(async () => {
    databases = await openDatabases();
    uds3 = databases.connect();
    await databases.postgres.query(UDS3_TABLE);
    await uds3.setup();
    const { chroma, mapping } = databases;
    await databases.postgres.query(
      `insert into documents (document_id, file_path, classification, content_length, legal_terms_count, created_at, quality_score, content, domain)
       values ('old', '/srv/akten/bauantrag.pdf', 'ordinance', 60, 2, '2021-05-05T12:00:00', 0.9, $1, 'recht')`,
      ["Der Bauantrag ist bei der Gemeinde einzureichen. Sie leitet ihn weiter."],
    );
    const collection = await chroma.getCollection({ name: mapping.chroma.collection });
    const [vector = []] = await databases.embedder.embed(["Abwasser und Kanalisation"]);
    await collection.upsert({
      ids: ["chunk-1", "chunk-2"],
      embeddings: [vector, vector],
      documents: ["Abwasser ist in die öffentliche Kanalisation einzuleiten.", "Zweiter Abschnitt über Abwasser."],
      metadatas: [
        { document_id: "sewage", content: "the wrong field", classification: "ordinance", quality_score: 0.8 },
        { document_id: "sewage", content: "the wrong field", classification: "ordinance", quality_score: 0.8 },
      ],
    });
    await databases.cypher(
      `CREATE (d:${mapping.neo4j.documentLabel} {document_id: 'noise', name: 'Lärmschutz', content: 'Ruhezeiten gelten ab 22 Uhr.', classification: 'guide', created_at: 'last summer'})
       CREATE (d)-[:RELATED_TO]->(:${mapping.neo4j.documentLabel} {document_id: 'old', name: 'Bauantrag'})`,
    );
  });
  afterAll(() => databases.close());

  test("filters are never ignored: not one leg gives what they exclude", async () => {
    for (const leg of ["vector", "keyword", "graph"] as SearchType[]) {
      const results = await uds3.search({
        queryText: "Bauantrag Abwasser Lärmschutz",
        searchTypes: [leg],
        filters: { documentType: "nothing-of-the-kind" },
      });
      expect(results).toEqual([]);
    }
  });

  test("the graph is searched by the question's words, not by the whole question", async () => {
    const results = await uds3.search({ queryText: "Was muss ich zum Lärmschutz in der Nacht wissen?", searchTypes: ["graph"] });
    expect(results.map(({ id }) => id)).toEqual(["noise", "old"]);
    expect(results[0]).toMatchObject({ content: "Ruhezeiten gelten ab 22 Uhr.", metadata: { title: "Lärmschutz" } });
  });

  test("a keyword result's content is the document's text, not a headline of its file path", async () => {
    const [result] = await uds3.search({ queryText: "Bauantrag Gemeinde", searchTypes: ["keyword"] });
    expect(result).toMatchObject({
      id: "old",
      content: "Der Bauantrag ist bei der Gemeinde einzureichen. Sie leitet ihn weiter.",
      source: "/srv/akten/bauantrag.pdf",
    });
  });

  test("Chroma's text comes from its documents, one result a document however many chunks it has", async () => {
    const results = await uds3.search({ queryText: "Abwasser und Kanalisation", searchTypes: ["vector"] });
    expect(results).toMatchObject([
      { id: "sewage", content: "Abwasser ist in die öffentliche Kanalisation einzuleiten.", metadata: { documentType: "ordinance" } },
    ]);
    expect(results[0]!.score).toBeCloseTo(1, 4);
  });

  test("scores fused by ranks reach 1, not 0.016", async () => {
    const [best] = await databases.connect({ fusion: "rrf" }).search({ queryText: "Bauantrag", searchTypes: ["keyword"] });
    expect(best!.score).toBe(1);
  });

  test("texts that only PostgreSQL has are read from there", async () => {
    const results = await uds3.search({ queryText: "Lärmschutz", searchTypes: ["graph"] });
    expect(results.find(({ id }) => id === "old")?.content).toContain("bei der Gemeinde einzureichen");
  });

  test("a date that is no date fails searches by date, by name, and no other search", async () => {
    const byDate = { queryText: "Lärmschutz", searchTypes: ["graph" as const], filters: { from: "2020-01-01" } };
    await expect(uds3.search(byDate)).rejects.toMatchObject({ code: "config_invalid", isRetryable: false, details: { leg: "graph" } });
    expect(await uds3.search({ ...byDate, filters: {} })).toHaveLength(2);
  });

  test("a new text takes the place of a document that UDS3 wrote, its chunks included", async () => {
    const content = "Abwasser von befestigten Flächen darf versickern, wenn der Boden es aufnehmen kann.";
    await uds3.addDocuments([{ id: "sewage", content }]);
    const collection = await databases.chroma.getCollection({ name: databases.mapping.chroma.collection });
    expect((await collection.get({ where: { document_id: "sewage" } })).documents).toEqual([content]);
  });

  test("new documents fit into UDS3's own table beside the old ones", async () => {
    expect(
      await uds3.addDocuments([
        { id: "new", content: "Der Bauantrag wird in drei Ausfertigungen eingereicht, mit Lageplan und Bauzeichnungen." },
      ]),
    ).toMatchObject({ added: 1 });
    const { rows } = await databases.postgres.query(
      "select classification, content_length, legal_terms_count, processing_status from documents where document_id = 'new'",
    );
    expect(rows).toEqual([
      { classification: "unclassified", content_length: "87", legal_terms_count: "0", processing_status: "completed" },
    ]);
    const results = await uds3.search({ queryText: "Bauantrag", searchTypes: ["keyword"] });
    expect(results.map(({ id }) => id).sort()).toEqual(["new", "old"]);
  });
});

describe("selective filters", () => {
  let databases: Databases;
  let uds3: Uds3;
  const COUNT = 3000;

  beforeAll(async () => {
    databases = await openDatabases();
    uds3 = databases.connect();
    await uds3.setup();
    const { mapping, chroma, embedder, postgres } = databases;
    // Every hundredth document is a law; all of them have the question's words, and one document in three has many chunks.
    const rows = Array.from({ length: COUNT }, (_, index) => ({
      id: `d${index}`,
      type: index % 100 === 0 ? "law" : "guide",
      name: `Gebührenordnung ${index}`,
    }));
    await postgres.query(
      `insert into documents (document_id, classification, content, legal_terms_count)
       select row->>'id', row->>'type', 'Gebührenordnung Nummer ' || (row->>'name'), 0 from jsonb_array_elements($1::jsonb) row`,
      [JSON.stringify(rows)],
    );
    await databases.cypher(
      `UNWIND $rows AS row CREATE (:${mapping.neo4j.documentLabel} {document_id: row.id, classification: row.type, title: row.name})`,
      { rows },
    );
    const collection = await chroma.getCollection({ name: mapping.chroma.collection });
    const chunks = rows.flatMap((row, index) =>
      Array.from({ length: index % 3 === 0 ? 4 : 1 }, (_, position) => ({ ...row, key: `${row.id}#${position}` })),
    );
    for (let start = 0; start < chunks.length; start += 500) {
      const batch = chunks.slice(start, start + 500);
      await collection.upsert({
        ids: batch.map(({ key }) => key),
        embeddings: await embedder.embed(batch.map(({ name }) => name)),
        documents: batch.map(({ name }) => name),
        metadatas: batch.map(({ id, type }) => ({ document_id: id, classification: type })),
      });
    }
  }, 240_000);
  afterAll(() => databases.close());

  test.each<SearchType>(["vector", "keyword", "graph"])("still give as many results of the %s leg as were asked for", async (leg) => {
    const results = await uds3.search({ queryText: "Gebührenordnung", topK: 25, searchTypes: [leg], filters: { documentType: "law" } });
    expect(results).toHaveLength(25);
    expect(new Set(results.map(({ id }) => id)).size).toBe(25);
    expect(results.every(({ metadata }) => metadata.documentType === "law")).toBe(true);
  });
});
