import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DocumentInput } from "../../src/types/index.js";
import type { Uds3 } from "../../src/uds3/index.js";
import { runTs } from "../setup/index.js";
import { freePort } from "../setup/server-process.js";
import { type Databases, openDatabases } from "./support/databases.js";

/** What each database says of a document: its text, or null. In Chroma every chunk counts. */
async function placesOf(
  databases: Databases,
  id: string,
): Promise<{ postgres: string | null; chroma: string[]; neo4j: unknown; entities: unknown }> {
  const { postgres, chroma, mapping } = databases;
  const { rows } = await postgres.query("select content from documents where document_id = $1", [id]);
  const collection = await chroma.getCollection({ name: mapping.chroma.collection });
  const chunks = await collection.get({ where: { document_id: id } });
  const nodes = await databases.cypher(
    `MATCH (d:${mapping.neo4j.documentLabel} {document_id: $id}) OPTIONAL MATCH (d)-[:MENTIONS]->(e) WITH d, e ORDER BY e.name RETURN d.content AS content, collect(e.name) AS entities`,
    { id },
  );
  expect(rows.length).toBeLessThanOrEqual(1);
  expect(nodes.length).toBeLessThanOrEqual(1);
  const order = chunks.ids.map((chunkId, index) => [chunkId, chunks.documents[index] ?? ""] as const).sort();
  return {
    postgres: rows[0]?.content ?? null,
    chroma: order.map(([, text]) => text),
    neo4j: nodes[0]?.content ?? null,
    entities: nodes[0]?.entities ?? null,
  };
}

const paragraph = (word: string): string => `${word} `.repeat(120).trim();

describe("documents written to all three databases", () => {
  let databases: Databases;
  let uds3: Uds3;

  beforeAll(async () => {
    databases = await openDatabases();
    uds3 = databases.connect();
    await uds3.setup();
  });
  afterAll(() => databases.close());

  test("replace their earlier text everywhere, leaving no chunk and no mention of it", async () => {
    const long = [paragraph("Abwasser"), paragraph("Kanalisation"), paragraph("Gebühren")].join("\n\n");
    await uds3.addDocuments([{ id: "sewage", content: long, metadata: { entities: ["Gemeinde", "Kanal"] } }]);
    expect((await placesOf(databases, "sewage")).chroma.length).toBeGreaterThan(2);
    const text = "Abwasser wird seit der Reform vom Zweckverband und nicht mehr von der Gemeinde beseitigt.";
    expect(await uds3.addDocuments([{ id: "sewage", content: text, metadata: { entities: ["Zweckverband"] } }])).toMatchObject({
      added: 1,
    });
    expect(await placesOf(databases, "sewage")).toEqual({ postgres: text, chroma: [text], neo4j: text, entities: ["Zweckverband"] });
  });

  test("are skipped the second time, and what is no document is refused with its index", async () => {
    const good = { id: "once", content: "Ein Text, der zweimal kommt und einmal geschrieben wird, wie es sich gehört." };
    expect(await uds3.addDocuments([good])).toEqual({ added: 1, skipped: 0, rejected: [] });
    const again = await uds3.addDocuments([good, { content: "" }, { id: "broken", content: "Geb\uFFFDhr" }]);
    expect(again).toMatchObject({
      added: 0,
      skipped: 1,
      rejected: [{ index: 1 }, { index: 2, reason: expect.stringContaining("encoding") }],
    });
  });

  test("leave the host's own relations and other columns as they are", async () => {
    const { documentLabel, entityLabel } = databases.mapping.neo4j;
    const first = "Die Satzung regelt die Gebühren der Stadt für das Parken in der Innenstadt.";
    await uds3.addDocuments([{ id: "statute", content: first, metadata: { entities: ["Stadt"] } }]);
    await databases.cypher(
      `MATCH (d:${documentLabel} {document_id: 'statute'}) MERGE (e:${entityLabel} {name: 'Innenstadt'}) MERGE (d)-[:MENTIONS]->(e)`,
    );
    await databases.postgres.query("alter table documents add column reviewed_by text");
    await databases.postgres.query("update documents set reviewed_by = 'Ada' where document_id = 'statute'");
    await uds3.addDocuments([{ id: "statute", content: `${first} Sie wurde geändert.` }]);
    expect((await placesOf(databases, "statute")).entities).toEqual(["Innenstadt"]);
    expect((await databases.postgres.query("select reviewed_by from documents where document_id = 'statute'")).rows).toEqual([
      { reviewed_by: "Ada" },
    ]);
  });

  test("are gone everywhere once they are removed", async () => {
    await uds3.addDocuments([{ id: "gone", content: "Dieser Text soll wieder verschwinden, und zwar aus allen drei Datenbanken." }]);
    expect(await uds3.removeDocuments(["gone", "never-there"])).toBe(2);
    expect(await placesOf(databases, "gone")).toEqual({ postgres: null, chroma: [], neo4j: null, entities: null });
    expect(await uds3.unfinishedDocuments()).toBe(0);
  });

  test("take their entities from the host's own extractor", async () => {
    const own = databases.connect({ entities: ({ content }) => content.match(/§ \d+/g) ?? [] });
    await own.addDocuments([
      { id: "paragraphs", content: "Nach § 34 und § 35 ist zu entscheiden, ob das Vorhaben zulässig ist oder nicht." },
    ]);
    expect((await placesOf(databases, "paragraphs")).entities).toEqual(["§ 34", "§ 35"]);
  });

  test.each(["postgres", "chroma", "neo4j"] as const)("wait for %s while it is down, and are finished by recover", async (name) => {
    const port = await freePort();
    const address = {
      postgres: `postgres://tester:x@127.0.0.1:${port}/x`,
      chroma: `http://127.0.0.1:${port}`,
      neo4j: { url: `bolt://127.0.0.1:${port}` },
    };
    const text = `Ein Text, der auf ${name} warten muss, weil diese Datenbank gerade nicht zu erreichen ist.`;
    const document: DocumentInput = { id: `waits-${name}`, content: text, metadata: { entities: ["Geduld"] } };
    const failing = databases.connect({ [name]: address[name] });
    await expect(failing.addDocuments([document])).rejects.toMatchObject({
      code: "store_unavailable",
      isRetryable: true,
      details: { database: name, documentIds: [document.id] },
    });
    expect(await uds3.unfinishedDocuments()).toBe(1);
    expect(await uds3.recover()).toEqual({ finished: 1 });
    expect(await placesOf(databases, `waits-${name}`)).toEqual({ postgres: text, chroma: [text], neo4j: text, entities: ["Geduld"] });
    expect(await uds3.unfinishedDocuments()).toBe(0);
  });

  test("that a database refuses keep no others waiting, and are named until they can be written", async () => {
    const own = databases.connect();
    await databases.postgres.query("alter table documents add constraint no_drafts check (title <> 'Entwurf')");
    const documents = ["a", "b", "c"].map((name) => ({
      id: `refused-${name}`,
      title: name === "b" ? "Entwurf" : "Beschluss",
      content: `Fassung ${name} des Textes, über den der Rat in seiner nächsten Sitzung befinden wird.`,
    }));
    const refusal = {
      name: "ConfigurationError",
      code: "config_invalid",
      isRetryable: false,
      details: { database: "postgres", documentIds: ["refused-b"] },
    };
    await expect(own.addDocuments(documents)).rejects.toMatchObject(refusal);
    expect((await placesOf(databases, "refused-a")).chroma).toHaveLength(1);
    expect((await placesOf(databases, "refused-c")).chroma).toHaveLength(1);
    expect(await placesOf(databases, "refused-b")).toEqual({ postgres: null, chroma: [], neo4j: null, entities: null });
    await expect(own.recover()).rejects.toMatchObject(refusal);
    await databases.postgres.query("alter table documents drop constraint no_drafts");
    expect(await own.recover()).toEqual({ finished: 1 });
    expect((await placesOf(databases, "refused-b")).postgres).toBe(documents[1]!.content);
  });

  test("keep no copy of their text in the outbox once they are everywhere", async () => {
    const { rows } = await databases.postgres.query("select count(*)::int as count from clara.uds3_documents where payload is not null");
    expect(rows).toEqual([{ count: 0 }]);
  });

  test("stop at an abort, and the batches before it stay", async () => {
    const abort = new AbortController();
    async function* endless(): AsyncGenerator<DocumentInput> {
      for (let index = 0; ; index += 1)
        yield { id: `endless-${index}`, content: `Dokument Nummer ${index} einer Reihe, die kein Ende hat und abgebrochen wird.` };
    }
    const progress: number[] = [];
    const onProgress = ({ added }: { added: number }): void => {
      progress.push(added);
      if (progress.length === 2) abort.abort();
    };
    await expect(uds3.addDocuments(endless(), { signal: abort.signal, onProgress })).rejects.toMatchObject({ code: "aborted" });
    expect(progress).toEqual([32, 64]);
    expect((await placesOf(databases, "endless-63")).chroma).toHaveLength(1);
    expect(await uds3.unfinishedDocuments()).toBe(0);
  });

  test("of one id by many writers at once end as one of the texts, the same everywhere", async () => {
    const texts = Array.from(
      { length: 6 },
      (_, index) => `Fassung ${index} desselben Dokuments, geschrieben von einem von mehreren gleichzeitigen Schreibern.`,
    );
    await Promise.all(texts.map((content) => databases.connect().addDocuments([{ id: "contested", content }])));
    const { postgres, chroma, neo4j } = await placesOf(databases, "contested");
    expect(texts).toContain(postgres);
    expect({ chroma, neo4j }).toEqual({ chroma: [postgres], neo4j: postgres });
  });

  test("are everywhere or as they were, whichever moment their writer is killed at", async () => {
    const old = `${paragraph("Altfassung")}\n\n${paragraph("Anhang")}`;
    const fresh = "Die neue Fassung ist kürzer als die alte und erwähnt etwas anderes als sie.";
    const outcomes: string[] = [];
    for (let killBefore = 1; ; killBefore += 1) {
      const id = `crash-${killBefore}`;
      await uds3.addDocuments([{ id, content: old, metadata: { entities: ["Alt"] } }]);
      const documents: DocumentInput[] = [
        { id, content: fresh, metadata: { entities: ["Neu"] } },
        { id: `${id}-second`, content: `${fresh} Zweites Dokument ${killBefore}.` },
      ];
      const child = runTs(new URL("children/ingest.ts", import.meta.url), [
        JSON.stringify({ urls: databases.urls, mapping: databases.mapping, documents, killBefore }),
      ]);
      const status = await child.ended;
      expect(child.errors()).toBe("");
      await uds3.recover();
      const places = await placesOf(databases, id);
      const isFresh = places.postgres === fresh;
      expect(places).toEqual(
        isFresh
          ? { postgres: fresh, chroma: [fresh], neo4j: fresh, entities: ["Neu"] }
          : { postgres: old, chroma: [paragraph("Altfassung"), paragraph("Anhang")], neo4j: old, entities: ["Alt"] },
      );
      const second = await placesOf(databases, `${id}-second`);
      expect(second.postgres).toBe(isFresh ? documents[1]?.content : null);
      expect(second.chroma).toHaveLength(isFresh ? 1 : 0);
      outcomes.push(isFresh ? "fresh" : "old");
      if (status === 0) break;
      expect(status).toBeNull();
    }
    // Killed before it was noted, the old text stays; once noted, the new one comes: never the other way round.
    expect(outcomes).toEqual([...outcomes].sort().reverse());
    expect(new Set(outcomes)).toEqual(new Set(["old", "fresh"]));
    expect(outcomes.length).toBeGreaterThan(15);
    expect(await uds3.unfinishedDocuments()).toBe(0);
  }, 400_000);
});

test("writing without a store or an embedder says what is missing", async () => {
  const databases = await openDatabases();
  try {
    for (const lack of [{ store: undefined }, { embedder: undefined }]) {
      await expect(databases.connect(lack).addDocuments([])).rejects.toMatchObject({
        code: "config_invalid",
        message: new RegExp(Object.keys(lack)[0] as string),
      });
    }
  } finally {
    await databases.close();
  }
});
