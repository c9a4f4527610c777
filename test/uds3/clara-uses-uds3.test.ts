import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Clara, createClara } from "../../src/index.js";
import type { DocumentInput, Logger } from "../../src/types/index.js";
import { recoverInBackground } from "../../src/uds3/writes/background-recovery.js";
import { FaultyProxy } from "../client/support/faulty-proxy.js";
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

  async function places(id = left.id as string): Promise<Record<string, number>> {
    const { postgres, chroma, mapping } = databases;
    const { rows } = await postgres.query("select 1 from documents where document_id = $1", [id]);
    const collection = await chroma.getCollection({ name: mapping.chroma.collection });
    const chunks = await collection.get({ where: { document_id: id } });
    const nodes = await databases.cypher(`MATCH (d:${mapping.neo4j.documentLabel} {document_id: $id}) RETURN 1`, { id });
    return { postgres: rows.length, chroma: chunks.ids.length, neo4j: nodes.length };
  }

  function recordingLogger() {
    const lines: { level: string; fields: unknown; message: string }[] = [];
    const at = (level: string) => (fields: unknown, message?: string) => lines.push({ level, fields, message: message ?? "" });
    return { lines, logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } as unknown as Logger };
  }

  const start = (chroma: string, logger: Logger) => startAt({ chroma }, logger);

  /** Opens all three by their addresses. */
  const startAt = (urls: Partial<Databases["urls"]>, logger: Logger) => {
    const { embedder, mapping } = databases;
    const { neo4j, ...others } = { ...databases.urls, ...urls };
    return createClara({
      database: databases.urls.postgres,
      embedder,
      uds3: { ...others, neo4j: { url: neo4j }, mapping },
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

  describe.each(["postgres", "chroma", "neo4j"] as const)("and whose Clara starts while %s refuses connections", (database) => {
    let proxy: FaultyProxy;
    let throughProxy: string;
    beforeEach(async () => {
      const url = new URL(databases.urls[database]);
      proxy = await FaultyProxy.start(Number(url.port), { kind: "reset", at: "connect" });
      url.port = new URL(proxy.url).port;
      throughProxy = url.href;
    });
    afterEach(() => proxy[Symbol.asyncDispose]());

    /** Noted, and in none of the three. */
    async function note(id: string): Promise<void> {
      const nowhere = databases.connect({ postgres: `postgres://nobody:x@127.0.0.1:${await freePort()}/none` });
      await expect(nowhere.addDocuments([{ ...left, id, content: `${left.content} ${id}` }])).rejects.toMatchObject({
        code: "store_unavailable",
      });
      expect(await places(id)).toEqual({ postgres: 0, chroma: 0, neo4j: 0 });
    }

    test("are finished by it once it can be reached, and until then it names the database at each try", async () => {
      const id = `waits-for-${database}`;
      await note(id);
      const { lines, logger } = recordingLogger();
      await using clara = await startAt({ [database]: throughProxy }, logger);
      const warnings = () => lines.filter(({ level }) => level === "warn").map(({ fields }) => fields as { retryInMs: number });
      await expect.poll(() => warnings().length, { timeout: 90_000 }).toBeGreaterThanOrEqual(2);
      for (const fields of warnings()) {
        expect(fields).toMatchObject({ code: "store_unavailable", database, documentIds: [id] });
      }
      const [first, second] = warnings();
      expect(first?.retryInMs).toSatisfy((ms: number) => ms >= 1_000 && ms <= 2_000);
      expect(second?.retryInMs).toSatisfy((ms: number) => ms >= 2_000 && ms <= 4_000);
      expect(await clara.uds3?.unfinishedDocuments()).toBe(1);
      proxy.heal();
      await expect
        .poll(() => lines, { timeout: 90_000 })
        .toContainEqual(expect.objectContaining({ level: "info", fields: { finished: 1 } }));
      expect(await clara.uds3?.unfinishedDocuments()).toBe(0);
      expect(await places(id)).toEqual({ postgres: 1, chroma: 1, neo4j: 1 });
    }, 240_000);

    test("do not keep it from closing: its tries end with it", async () => {
      const id = `never-reaches-${database}`;
      await note(id);
      const { lines, logger } = recordingLogger();
      const clara = await startAt({ [database]: throughProxy }, logger);
      await expect.poll(() => lines.filter(({ level }) => level === "warn"), { timeout: 90_000 }).not.toEqual([]);
      // Only where the tries end does this: as long as they go on they are awaited.
      await clara.close();
      expect(await databases.connect().recover()).toEqual({ finished: 1 });
    }, 180_000);
  });

  test("that a database refuses are told once and wait for their correction, without another try", async () => {
    const { postgres } = databases;
    const id = "refused";
    await postgres.query(`alter table documents add constraint no_refused check (document_id <> '${id}')`);
    await expect(databases.connect().addDocuments([{ ...left, id, content: `${left.content} ${id}` }])).rejects.toMatchObject({
      code: "config_invalid",
    });
    const warned = Promise.withResolvers<unknown>();
    const ended = recoverInBackground({ recover: (options) => databases.connect().recover(options) }, {
      warn: (fields: unknown) => warned.resolve(fields),
    } as unknown as Logger);
    expect(await warned.promise).toMatchObject({ code: "config_invalid", database: "postgres", documentIds: [id] });
    expect(await warned.promise).not.toHaveProperty("retryInMs");
    await ended();
    await postgres.query("alter table documents drop constraint no_refused");
    expect(await databases.connect().recover()).toEqual({ finished: 1 });
  });

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
