import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SearchType } from "../../src/types/index.js";
import type { Uds3 } from "../../src/uds3/index.js";
import { type Databases, openDatabases } from "./support/databases.js";

/** What has broken query builders before: SQL, tsquery, Cypher, Lucene, Chroma operators, templates, Unicode. */
const HOSTILE = [
  "'; drop table documents; --",
  '" or ""="',
  "x' || (select pg_sleep(9)) || '",
  "' & ! | <-> :* ()",
  "a & (b | !c:*) <2> d",
  "\\'; select 1; \\",
  "$1 $2 {1} :name ?",
  "`) DETACH DELETE n //",
  "'}) MATCH (n) DETACH DELETE n //",
  "$index",
  "name:* OR *:*",
  "(((((((((",
  "a~0.9 b^100 [x TO y] {x TO y} /.*/",
  "AND OR NOT + - && || !",
  "title:[* TO *]",
  '{"$ne": null}',
  "$or",
  "$and: []",
  "__proto__",
  "constructor",
  "%s%n{}",
  "../../etc/passwd",
  "<script>alert(1)</script>",
  "Ünïcödé 漢字 🏛️ ﷽",
  "a\u200Bb\u202Ec",
  "-",
  '"',
  "''",
  "\\",
  "OR OR OR",
  '"unfinished quote',
  "x".repeat(8192),
  "word ".repeat(1600),
];

describe("hostile strings (A23)", () => {
  let databases: Databases;
  let uds3: Uds3;

  const state = async (): Promise<unknown> => {
    const { postgres, chroma, mapping } = databases;
    const { rows } = await postgres.query("select document_id, classification, content from documents order by 1");
    const chunks = await (await chroma.getCollection({ name: mapping.chroma.collection })).get({ include: ["documents", "metadatas"] });
    const nodes = await databases.cypher(
      `MATCH (n) WHERE n:${mapping.neo4j.documentLabel} OR n:${mapping.neo4j.entityLabel} RETURN coalesce(n.document_id, n.name) AS id, properties(n) AS properties ORDER BY id`,
    );
    return { rows, chunks: chunks.ids.map((id, index) => [id, chunks.documents[index], chunks.metadatas[index]]).sort(), nodes };
  };

  beforeAll(async () => {
    databases = await openDatabases();
    uds3 = databases.connect();
    await uds3.setup();
    await uds3.addDocuments([
      {
        id: "secret",
        content: "Ein Dokument, das nur sieht, wer nach seinem eigenen Typ fragt, und sonst niemand.",
        documentType: "secret",
        domain: "law",
      },
      {
        id: "public",
        content: "Ein Dokument, das jeder sehen darf, der danach fragt, an jedem Tag der Woche.",
        documentType: "public",
        domain: "law",
      },
    ]);
  });
  afterAll(() => databases.close());

  test("as questions find something or nothing, break nothing and change nothing", async () => {
    const before = await state();
    for (const queryText of HOSTILE) {
      const results = await uds3.search({ queryText, topK: 10 });
      for (const { score } of results) expect(score, queryText).toSatisfy((value: number) => value >= 0 && value <= 1);
    }
    expect(await state()).toEqual(before);
  });

  test("as filters match nothing but themselves, in each leg", async () => {
    for (const documentType of HOSTILE) {
      for (const leg of ["vector", "keyword", "graph"] as SearchType[]) {
        expect(await uds3.search({ queryText: "Dokument", searchTypes: [leg], filters: { documentType } }), documentType).toEqual([]);
      }
    }
  });

  test("that are no text, or name no domain, are refused before any database sees them", async () => {
    for (const query of [
      { queryText: "nul\u0000byte" },
      { queryText: "half \uD83D pair" },
      { queryText: "x", filters: { documentType: "\u0000" } },
      { queryText: "x", filters: { domain: "law' or '1'='1" } },
    ]) {
      await expect(uds3.search(query)).rejects.toMatchObject({ name: "ValidationError", code: "input_invalid" });
    }
    // What is an operator in Chroma's language is no value of ours.
    await expect(uds3.search({ queryText: "x", filters: { documentType: { $ne: "" } as never } })).rejects.toMatchObject({
      code: "input_invalid",
    });
    await expect(uds3.search({ queryText: ["x"] as never })).rejects.toMatchObject({ code: "input_invalid" });
  });

  test("come back as they were written, found by their own type only", async () => {
    const documents = HOSTILE.filter((text) => text.length <= 64).map((text, index) => ({
      id: `hostile ${text} ${index}`,
      title: `Titel ${text}`,
      content: `Ein Text mit ${text} mittendrin, der als Text gespeichert und gefunden wird.`,
      documentType: `type ${text}`,
      source: text,
      metadata: { entities: [text], [text]: text },
    }));
    const { added, rejected } = await uds3.addDocuments(documents);
    expect(rejected).toEqual([]);
    expect(added).toBe(documents.length);
    for (const { id, content, title, documentType, source } of documents) {
      for (const leg of ["vector", "keyword"] as SearchType[]) {
        const results = await uds3.search({ queryText: "gespeichert und gefunden", searchTypes: [leg], filters: { documentType } });
        expect(results).toMatchObject([{ id, content, source, metadata: { title, documentType } }]);
      }
    }
    expect(await uds3.removeDocuments(documents.map(({ id }) => id))).toBe(documents.length);
    const { rows } = await databases.postgres.query("select document_id from documents order by 1");
    expect(rows).toEqual([{ document_id: "public" }, { document_id: "secret" }]);
  });

  test("of any kind never show a document of another type", async () => {
    const anyText = fc.oneof(
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }),
      fc.string({
        unit: fc.constantFrom(..."'\"`\\$(){}[]|&!:*^~<>-+; \t%_/".split(""), "OR", "AND", "Dokument"),
        minLength: 1,
        maxLength: 30,
      }),
      fc.tuple(fc.constantFrom(...HOSTILE), fc.constantFrom(...HOSTILE)).map((pair) => pair.join(" ").slice(0, 500)),
    );
    await fc.assert(
      fc.asyncProperty(anyText, anyText, async (queryText, documentType) => {
        fc.pre(documentType !== "secret" && documentType !== "public");
        let results: { id: string }[];
        try {
          results = await uds3.search({ queryText: `Dokument ${queryText}`, filters: { documentType } });
        } catch (error) {
          // Only for what is no text at all, before a database is asked.
          expect(error).toMatchObject({ code: "input_invalid" });
          return;
        }
        expect(results).toEqual([]);
        const open = await uds3.search({ queryText: `Dokument ${queryText}`, filters: { documentType: "public" } });
        expect(open.every(({ id }) => id === "public")).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});
