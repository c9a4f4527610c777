import { sql } from "kysely";
import { beforeAll, describe, expect, it } from "vitest";
import type { Store } from "../../src/store/index.js";
import { allMigrations } from "../../src/store/migrations.js";
import { describeEachStore } from "../setup/index.js";

describeEachStore("an opened store", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });

  it("has run every room's migrations once", async () => {
    const { rows } = await sql<{ name: string }>`select name from clara.migrations order by name`.execute(store.db);
    expect(rows.map((row) => row.name)).toEqual(Object.keys(allMigrations).sort());
  });

  it("says what the database can do", () => {
    expect(store.kind).toBe(harness.kind);
    expect(store.capabilities).toEqual({ vector: true, trigram: harness.kind === "embedded", durableCommit: harness.kind === "postgres" });
    expect(store.journal === null).toBe(harness.kind === "postgres");
  });

  it("gives 64-bit integers as text", async () => {
    const { rows } = await sql<{ n: string }>`select 9007199254740993::int8 as n`.execute(store.db);
    expect(rows).toEqual([{ n: "9007199254740993" }]);
  });
});

describe("the list of migrations", () => {
  it("has three digits and a name in every key", () => {
    for (const name of Object.keys(allMigrations)) expect(name).toMatch(/^\d{3}-[a-z0-9-]+$/);
  });
});
