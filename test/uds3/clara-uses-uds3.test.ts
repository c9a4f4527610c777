import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Clara, createClara } from "../../src/index.js";
import type { DocumentInput, Logger } from "../../src/types/index.js";
import { runTs } from "../setup/index.js";
import { freePort } from "../setup/server-process.js";
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

describe("documents whose writer was killed once they were noted", () => {
  let databases: Databases;
  beforeAll(async () => {
    databases = await openDatabases();
    await databases.connect().setup();
  });
  afterAll(() => databases.close());

  const left: DocumentInput = { id: "left-behind", content: "Dieser Text war schon vermerkt, als sein Schreiber beendet wurde." };

  /** Kills writers, each a moment later, until one leaves the document noted and in none of the three. */
  async function leaveBehind(): Promise<void> {
    const { urls, mapping } = databases;
    const uds3 = databases.connect();
    for (let killBefore = 1; (await uds3.unfinishedDocuments()) === 0; killBefore += 1) {
      const settings = JSON.stringify({ urls, mapping, documents: [left], killBefore });
      const child = runTs(new URL("children/ingest.ts", import.meta.url), [settings]);
      expect(await child.ended).toBeNull();
    }
    expect(await places()).toEqual({ postgres: 0, chroma: 0, neo4j: 0 });
  }

  async function places(): Promise<Record<string, number>> {
    const { postgres, chroma, mapping } = databases;
    const { rows } = await postgres.query("select 1 from documents where document_id = $1", [left.id]);
    const collection = await chroma.getCollection({ name: mapping.chroma.collection });
    const chunks = await collection.get({ where: { document_id: left.id as string } });
    const nodes = await databases.cypher(`MATCH (d:${mapping.neo4j.documentLabel} {document_id: $id}) RETURN 1`, { id: left.id });
    return { postgres: rows.length, chroma: chunks.ids.length, neo4j: nodes.length };
  }

  function recordingLogger() {
    const lines: { level: string; fields: unknown; message: string }[] = [];
    const at = (level: string) => (fields: unknown, message?: string) => lines.push({ level, fields, message: message ?? "" });
    return { lines, logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } as unknown as Logger };
  }

  const start = (chroma: string, logger: Logger) => {
    const { urls, embedder, neo4j, mapping } = databases;
    return createClara({
      database: urls.postgres,
      embedder,
      uds3: { postgres: urls.postgres, chroma, neo4j, mapping },
      worker: false,
      logger,
    });
  };

  test("wait while a database is down, which the start survives and says; the next start finishes them", async () => {
    await leaveBehind();
    const down = recordingLogger();
    await using without = await start(`http://127.0.0.1:${await freePort()}`, down.logger);
    const warning = { level: "warn", fields: { code: "store_unavailable", database: "chroma", documentIds: [left.id] } };
    await expect
      .poll(() => down.lines)
      .toContainEqual(expect.objectContaining({ ...warning, fields: expect.objectContaining(warning.fields) }));
    expect(await without.uds3?.unfinishedDocuments()).toBe(1);
    const up = recordingLogger();
    await using _with = await start(databases.urls.chroma, up.logger);
    await expect
      .poll(() => up.lines, { timeout: 90_000 })
      .toContainEqual(expect.objectContaining({ level: "info", fields: { finished: 1 } }));
    expect(await places()).toEqual({ postgres: 1, chroma: 1, neo4j: 1 });
  }, 180_000);

  test("do not keep a Clara from closing that waits for another writer", async () => {
    const { embedder } = databases;
    const entered = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const slow = Object.assign(Object.create(embedder) as typeof embedder, {
      embed: async (texts: readonly string[]) => {
        entered.resolve();
        await release.promise;
        return embedder.embed(texts);
      },
    });
    const writing = databases
      .connect({ embedder: slow })
      .addDocuments([{ id: "slow", content: `${left.content} Ein anderer schreibt noch.` }]);
    await entered.promise;
    const { lines, logger } = recordingLogger();
    const clara = await start(databases.urls.chroma, logger);
    await clara.close();
    release.resolve();
    expect(await writing).toMatchObject({ added: 1 });
    expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  });
});
