import { sql } from "kysely";
import type { Migration } from "kysely/migration";
import { afterEach, expect, it } from "vitest";
import { openStore } from "../../src/store/index.js";
import { allMigrations, migrate } from "../../src/store/migrations.js";
import { describeEachStore } from "../setup/index.js";

const breaking: Migration = {
  async up(db) {
    await sql`create table clara.half_done (id int)`.execute(db);
    await sql`select no_such_function()`.execute(db);
  },
};
const adding: Migration = {
  async up(db) {
    await sql`create table clara.added (id int)`.execute(db);
  },
};

describeEachStore("a migration", (harness) => {
  afterEach(() => harness.reset());

  it("that fails is named, leaves nothing behind, and can be repeated once it is right", async () => {
    const store = await harness.open();
    const withBreaking = { ...allMigrations, "900-breaking": breaking };
    await expect(migrate(store.db, withBreaking)).rejects.toMatchObject({
      code: "migration_failed",
      message: expect.stringMatching(/'900-breaking'.*no_such_function/),
      details: { migration: "900-breaking" },
    });
    expect((await sql<{ found: boolean }>`select to_regclass('clara.half_done') is not null as found`.execute(store.db)).rows).toEqual([
      { found: false },
    ]);
    await migrate(store.db, { ...allMigrations, "900-breaking": adding });
    expect((await sql<{ found: boolean }>`select to_regclass('clara.added') is not null as found`.execute(store.db)).rows).toEqual([
      { found: true },
    ]);
  });

  it("of one room runs though a later number of another has run before", async () => {
    const store = await harness.open();
    await migrate(store.db, { ...allMigrations, "900-first": adding });
    await migrate(store.db, { ...allMigrations, "900-first": adding, "000-second": { up: async () => {} } });
    const { rows } = await sql<{
      name: string;
    }>`select name from clara.migrations where name in ('000-second', '900-first') order by name`.execute(store.db);
    expect(rows.map((row) => row.name)).toEqual(["000-second", "900-first"]);
  });

  it("of a newer package is refused by name, and the store is free again", async () => {
    const store = await harness.open();
    await migrate(store.db, { ...allMigrations, "900-newer": adding });
    await store.close();
    const database = await harness.database();
    const newer = {
      code: "migration_failed",
      message: expect.stringContaining("'900-newer'"),
      details: { unknownMigrations: ["900-newer"] },
    };
    await expect(openStore({ database })).rejects.toMatchObject(newer);
    await expect(openStore({ database })).rejects.toMatchObject(newer);
  });
});
