import { createServer, type Server, type Socket } from "node:net";
import neo4jDriver from "neo4j-driver";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Uds3, type Uds3Options } from "../../src/uds3/index.js";
import { freePort } from "../setup/server-process.js";
import { type Databases, openDatabases } from "./support/databases.js";

/** Takes connections and never says a word. */
async function silentServer(): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => sockets.add(socket.on("error", () => {})));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe("a leg that cannot answer", () => {
  let databases: Databases;
  let closed: number;
  let silent: Awaited<ReturnType<typeof silentServer>>;
  const query = { queryText: "Lageplan", topK: 5 };

  beforeAll(async () => {
    databases = await openDatabases();
    closed = await freePort();
    silent = await silentServer();
    const uds3 = databases.connect();
    await uds3.setup();
    await uds3.addDocuments([
      {
        id: "plan",
        title: "Lageplan",
        content: "Dem Bauantrag liegt ein Lageplan im Maßstab 1:500 bei, den ein Sachverständiger fertigt.",
      },
    ]);
    // The first search makes Neo4j plan it, which the short deadlines below are not about.
    await uds3.search(query);
  });
  afterAll(async () => {
    silent.close();
    await databases.close();
  });

  const parts = ["vector", "keyword", "graph"] as const;
  const databaseOf = { vector: "chroma", keyword: "postgres", graph: "neo4j" };
  const broken = (leg: (typeof parts)[number], port: number): Partial<Uds3Options> =>
    leg === "vector"
      ? { chroma: `http://127.0.0.1:${port}` }
      : leg === "keyword"
        ? { postgres: `postgres://tester:secret@127.0.0.1:${port}/nothing` }
        : { neo4j: { url: `bolt://127.0.0.1:${port}`, auth: { user: "neo4j", password: "secret" } } };

  test.each(parts)("of %s is an error with its name where its server is down, never an empty list", async (leg) => {
    const error = await databases
      .connect(broken(leg, closed))
      .search(query)
      .catch((caught) => caught);
    expect(error).toMatchObject({
      name: "StorageError",
      code: "store_unavailable",
      isRetryable: true,
      details: { leg, database: databaseOf[leg] },
    });
    expect(JSON.stringify([error.message, error.details])).not.toContain("secret");
  });

  test.each(parts)("of %s is an error with its name once its deadline is over", async (leg) => {
    const uds3 = databases.connect({ ...broken(leg, silent.port), legTimeoutMs: 300 });
    const { results, missing } = await uds3.searchWithReport({ ...query, searchTypes: [leg, leg === "keyword" ? "vector" : "keyword"] });
    expect(missing).toMatchObject([{ leg, code: "request_timeout" }]);
    expect(results.map(({ id }) => id)).toEqual(["plan"]);
    await expect(uds3.search({ ...query, searchTypes: [leg] })).rejects.toMatchObject({
      code: "request_timeout",
      details: { leg, deadlineMs: 300 },
    });
  });

  test.each(parts)("of %s is left out by name where degrading was asked for", async (leg) => {
    const uds3 = databases.connect({ ...broken(leg, closed), onLegFailure: "degrade" });
    const [result] = await uds3.search(query);
    expect(result).toMatchObject({ id: "plan", metadata: { missingLegs: [leg] } });
    expect(Object.keys(result!.scores)).not.toContain(leg);
  });

  test("is an error even where degrading was asked for, when nothing was found without it", async () => {
    const uds3 = databases.connect({ ...broken("vector", closed), onLegFailure: "degrade" });
    await expect(uds3.search({ queryText: "Xylophon" })).rejects.toMatchObject({ code: "store_unavailable", details: { leg: "vector" } });
    expect(await uds3.searchWithReport({ queryText: "Xylophon" })).toMatchObject({
      results: [],
      missing: [{ leg: "vector", code: "store_unavailable" }],
    });
  });

  test("is an error even in a report, when no other leg was asked for", async () => {
    const uds3 = databases.connect(broken("graph", closed));
    await expect(uds3.searchWithReport({ ...query, searchTypes: ["graph"] })).rejects.toMatchObject({ details: { leg: "graph" } });
  });

  test("is named where it is only the texts that cannot be read", async () => {
    const { mapping } = databases;
    const uds3 = databases.connect({
      ...broken("keyword", closed),
      mapping: { ...mapping, neo4j: { ...mapping.neo4j, properties: { content: null } } },
    });
    const byName = { ...query, searchTypes: ["graph" as const] };
    await expect(uds3.search(byName)).rejects.toMatchObject({
      code: "store_unavailable",
      details: { leg: "content", database: "postgres" },
    });
    expect(await uds3.searchWithReport(byName)).toMatchObject({
      results: [{ id: "plan", content: "" }],
      missing: [{ leg: "content", code: "store_unavailable" }],
    });
  });

  test("says what to do where table, collection or index are not there", async () => {
    const { mapping } = databases;
    const cases = [
      ["keyword", { ...mapping, postgres: { table: "no_such_table" } }],
      ["keyword", { ...mapping, postgres: { textSearch: { german: "no_such_column" } } }],
      ["vector", { ...mapping, chroma: { collection: "no-such-collection" } }],
      ["graph", { ...mapping, neo4j: { ...mapping.neo4j, fullTextIndex: "no_such_index" } }],
    ] as const;
    for (const [leg, wrong] of cases) {
      const error = await databases
        .connect({ mapping: wrong })
        .search(query)
        .catch((caught) => caught);
      expect(error).toMatchObject({ name: "ConfigurationError", code: "config_invalid", isRetryable: false, details: { leg } });
      expect(error.message).toContain("setup()");
    }
  });

  test("says that the vectors are of another size", async () => {
    const embedder = { name: "tiny", dimensions: 3, embed: async (texts: readonly string[]) => texts.map(() => [1, 0, 0]) };
    await expect(databases.connect({ embedder }).search(query)).rejects.toMatchObject({
      code: "config_invalid",
      details: { leg: "vector" },
      message: /dimension/,
    });
  });

  test("is named where the embedder is what failed", async () => {
    const embedder = { name: "broken", dimensions: 3, embed: async () => [] };
    await expect(databases.connect({ embedder }).search(query)).rejects.toMatchObject({
      code: "engine_response_invalid",
      details: { leg: "vector", embedder: "broken" },
    });
  });

  test("is not searched without an embedder, and an error where it was asked for by name", async () => {
    const uds3 = databases.connect({ embedder: undefined });
    const [result] = await uds3.search(query);
    expect(Object.keys(result!.scores).sort()).toEqual(["graph", "keyword"]);
    await expect(uds3.search({ ...query, searchTypes: ["vector"] })).rejects.toMatchObject({
      code: "capability_missing",
      details: { leg: "vector" },
    });
  });

  test("ends the wait at once when the caller aborts", async () => {
    for (const leg of parts) {
      const abort = new AbortController();
      const pending = databases.connect(broken(leg, silent.port)).search({ ...query, searchTypes: [leg] }, { signal: abort.signal });
      abort.abort();
      await expect(pending).rejects.toMatchObject({ code: "aborted" });
    }
    await expect(databases.connect().search(query, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });

  test("stops the server's work when the deadline is over", async () => {
    await databases.postgres.query(
      "create function slow_rank() returns boolean language sql volatile as 'select pg_sleep(600) is not null'",
    );
    await databases.postgres.query("create view slow_documents as select * from documents where slow_rank()");
    const uds3 = databases.connect({ mapping: { ...databases.mapping, postgres: { table: "slow_documents" } }, legTimeoutMs: 300 });
    await expect(uds3.search({ ...query, searchTypes: ["keyword"] })).rejects.toMatchObject({
      code: "request_timeout",
      details: { leg: "keyword" },
    });
    const running =
      "select count(*)::int as count from pg_stat_activity where state = 'active' and query like '%slow_documents%' and pid <> pg_backend_pid()";
    await expect.poll(async () => (await databases.postgres.query(running)).rows[0].count).toBe(0);
  });
});

describe("a connector", () => {
  const good: Uds3Options = { postgres: "postgres://127.0.0.1:9/x", chroma: "http://127.0.0.1:9", neo4j: { url: "bolt://127.0.0.1:9" } };

  test.each([
    ["a table with a quote", { mapping: { postgres: { table: 'documents"; drop table documents' } } }, "mapping.postgres.table"],
    ["a label with a backtick", { mapping: { neo4j: { documentLabel: "Document`) DETACH DELETE n //" } } }, "mapping.neo4j.documentLabel"],
    ["a relation with a bracket", { mapping: { neo4j: { relations: ["A]->() //"] } } }, "mapping.neo4j.relations.0"],
    ["a Chroma field that is an operator", { mapping: { chroma: { fields: { domain: "$or" } } } }, "mapping.chroma.fields.domain"],
    [
      "a configuration with a quote",
      { mapping: { postgres: { textSearch: { "german'": "search" } } } },
      "mapping.postgres.textSearch.german'",
    ],
    ["an unknown field", { mapping: { postgres: { tabel: "documents" } } as never }, "mapping.postgres"],
    ["the same column twice", { mapping: { postgres: { columns: { title: "content" } } } }, "mapping.postgres.columns"],
    ["no time at all", { legTimeoutMs: 0 }, "uds3.legTimeoutMs"],
    ["an unknown fusion", { fusion: "sum" as never }, "uds3.fusion"],
    ["no Chroma", { chroma: undefined as never }, "uds3.chroma"],
  ])("is not made with %s", (_what, wrong, field) => {
    expect(() => new Uds3({ ...good, ...wrong })).toThrowError(
      expect.objectContaining({ code: "config_invalid", details: expect.objectContaining({ field }) }),
    );
  });

  test.each([
    ["chroma", { chroma: "127.0.0.1:8000" }, "vector"],
    ["neo4j", { neo4j: { url: "http://127.0.0.1:7474" } }, "graph"],
  ])("says what an address of %s looks like", async (_what, wrong, leg) => {
    const embedder = { name: "unit", dimensions: 2, embed: async () => [[1, 0]] };
    await using uds3 = new Uds3({ ...good, ...wrong, embedder });
    await expect(uds3.search({ queryText: "x", searchTypes: [leg as "vector"] })).rejects.toMatchObject({
      code: "config_invalid",
      details: { leg },
    });
  });

  test("closes what it opened and leaves open what it was given", async () => {
    const driver = neo4jDriver.driver("bolt://127.0.0.1:9");
    const uds3 = new Uds3({ ...good, neo4j: driver });
    await uds3.close();
    await expect(uds3.search({ queryText: "x" })).rejects.toMatchObject({ code: "store_closed" });
    expect(() => driver.session()).not.toThrow();
    await driver.close();
  });
});
