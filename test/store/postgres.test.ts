import { createServer } from "node:net";
import { sql } from "kysely";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../src/store/index.js";
import { createDatabase, runOn, runTs, stockPostgresUrl, type TestDatabase } from "../setup/index.js";

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase();
});
afterEach(() => database.drop());

describe("a user's PostgreSQL", () => {
  it("stays open where its pool was passed in, and runs on a pool of one", async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    const store = await openStore({ database: pool });
    expect(
      await store.withLock("with a pool of one", async () => (await sql<{ one: number }>`select 1 as one`.execute(store.db)).rows),
    ).toEqual([{ one: 1 }]);
    await store.close();
    await store.close();
    expect((await pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    expect(pool.listenerCount("error")).toBe(0);
    await pool.end();
  });

  it("gives 64-bit integers as text though the host's own parser makes numbers of them", async () => {
    const types = new pg.TypeOverrides();
    types.setTypeParser(pg.types.builtins.INT8, Number);
    const pool = new pg.Pool({ connectionString: database.url, types });
    const store = await openStore({ database: pool });
    expect((await sql`select 9007199254740993::int8 as n`.execute(store.db)).rows).toEqual([{ n: "9007199254740993" }]);
    await store.close();
    await pool.end();
  });

  it("is named when it refuses the login, and the password is not", async () => {
    const url = new URL(database.url);
    url.password = "S3cret-canary";
    const error = await openStore({ database: url.href }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "store_unavailable", message: expect.stringContaining(`127.0.0.1:${url.port}${url.pathname}`) });
    expect(JSON.stringify(error) + String((error as Error).stack)).not.toContain("S3cret-canary");
  });

  it("is named when it does not exist or does not answer", async () => {
    const missing = new URL(database.url);
    missing.pathname = "/not_there";
    await expect(openStore({ database: missing.href })).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(/not_there does not exist/),
    });

    const closed = createServer();
    const port = await new Promise<number>((resolve) =>
      closed.listen(0, "127.0.0.1", () => resolve((closed.address() as { port: number }).port)),
    );
    await new Promise((resolve) => closed.close(resolve));
    await expect(openStore({ database: `postgres://clara:secret@127.0.0.1:${port}/app` })).rejects.toMatchObject({
      code: "store_unavailable",
      isRetryable: true,
      message: expect.stringContaining(`127.0.0.1:${port}/app`),
    });
  });

  it.each(["not a url", "mysql://root@localhost/app", "postgres://[broken"])("is refused by name where its URL is %s", async (url) => {
    await expect(openStore({ database: url })).rejects.toMatchObject({ code: "config_invalid" });
  });

  it.each([{}, { dataDir: "" }, 5, null])("is refused where `database` is %j", async (value) => {
    await expect(openStore({ database: value as never })).rejects.toMatchObject({ code: "config_invalid" });
  });

  it("loses its connections and finds them again", async () => {
    const store = await openStore({ database: database.url });
    await store.pool.query("select 1");
    await runOn(
      database.url,
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    await expect
      .poll(() =>
        sql`select 1 as one`.execute(store.db).then(
          ({ rows }) => rows,
          () => null,
        ),
      )
      .toEqual([{ one: 1 }]);
    await store.close();
  });

  it("tells a statement that the server cut off from one that was wrong", async () => {
    const store = await openStore({ database: database.url });
    await expect(sql`select pg_terminate_backend(pg_backend_pid())`.execute(store.db)).rejects.toMatchObject({
      code: "store_unavailable",
      isRetryable: true,
    });
    await expect(sql`select 1 / 0`.execute(store.db)).rejects.toMatchObject({ code: "22012" });
    await expect(store.close()).resolves.toBeUndefined();
    await expect(sql`select 1`.execute(store.db)).rejects.toMatchObject({ code: "store_closed" });
  });

  it("works for a role that may neither create extensions nor schemas, once a schema of its own is there", async () => {
    const name = new URL(database.url).pathname.slice(1);
    await runOn(database.url, `create role limited_${name} login password 'limited'`);
    await runOn(database.url, `create schema clara authorization limited_${name}`);
    const url = new URL(database.url);
    url.username = `limited_${name}`;
    url.password = "limited";
    const store = await openStore({ database: url.href });
    expect(store.capabilities).toMatchObject({ vector: false, trigram: false });
    await store.close();
    await runOn(database.url, `drop owned by limited_${name} cascade`);
    await runOn(database.url, `drop role limited_${name}`);
  });

  it("without pgvector is a gap that it names, not a crash", async (context) => {
    const stock = await stockPostgresUrl();
    if (stock === null) return context.skip("no stock PostgreSQL on this machine");
    const bare = await createDatabase(stock);
    const store = await openStore({ database: bare.url });
    expect(store.capabilities).toMatchObject({ vector: false, durableCommit: true });
    await store.close();
    await bare.drop();
  });

  it("is migrated once by processes that start at the same moment", async () => {
    const child = new URL("./children/open-store.ts", import.meta.url);
    const processes = Array.from({ length: 4 }, () => runTs(child, [JSON.stringify(database.url), "exit"]));
    expect(await Promise.all(processes.map(({ nextLine }) => nextLine()))).toEqual(processes.map(({ child: { pid } }) => `open ${pid}`));
    expect(await Promise.all(processes.map(({ ended }) => ended))).toEqual([0, 0, 0, 0]);
  });
});
