import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Clara, createClara } from "../../src/index.js";
import { type Databases, openDatabases } from "./support/databases.js";

let databases: Databases;
let folder: string;
let clara: Clara;

beforeAll(async () => {
  databases = await openDatabases();
  folder = await mkdtemp(join(tmpdir(), "clara-uds3-"));
  const { postgres, chroma, neo4j, mapping } = databases;
  clara = await createClara({
    database: { dataDir: join(folder, "state") },
    uds3: { postgres, chroma, neo4j, mapping, legTimeoutMs: 30_000 },
    worker: false,
  });
  await clara.uds3?.setup();
});
afterAll(async () => {
  await clara.close();
  await rm(folder, { recursive: true, force: true });
  await databases.close();
});

const content = "Die Hausordnung gilt für alle. Der Schlüssel der Kapelle liegt an der Pforte und wird dort ausgegeben.";

test("documents that are added to Clara's datasets are in the user's own databases and found there", async () => {
  const document = { id: "rules", title: "Hausordnung", content, domain: "office", metadata: { entities: ["Pforte"] } };
  expect(await clara.datasets.addDocuments([document])).toMatchObject({ added: 1 });
  expect((await databases.postgres.query("select document_id from documents")).rows).toEqual([{ document_id: "rules" }]);
  expect((await clara.datasets.corpusStatistics()).documents).toBe(0);
  const [result] = await clara.datasets.search({ queryText: "Wo liegt der Schlüssel? Pforte", filters: { domain: "office" } });
  expect(result).toMatchObject({ id: "rules", content });
  expect(Object.keys(result!.scores).sort()).toEqual(["graph", "keyword", "vector"]);
});

test("a dataset is made of what a search of them finds", async () => {
  const dataset = await clara.datasets.create({ name: "house", domain: "office", query: { queryText: "Hausordnung" } });
  const samples = [];
  for await (const { sample } of clara.datasets.items(dataset.id)) samples.push(sample);
  expect(samples).toMatchObject([{ prompt: "Hausordnung", response: content }]);
});

test("documents that are removed from Clara's datasets leave the user's own databases", async () => {
  await clara.datasets.removeDocuments(["rules"]);
  expect(await clara.datasets.search({ queryText: "Hausordnung" })).toEqual([]);
});

test("without the option there is no connector, and documents are in the store", async () => {
  await using plain = await createClara({ database: { dataDir: join(folder, "plain") }, worker: false });
  expect(plain.uds3).toBeUndefined();
  await plain.datasets.addDocuments([{ id: "rules", content }]);
  expect((await plain.datasets.corpusStatistics()).documents).toBe(1);
});
