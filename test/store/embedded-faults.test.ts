import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEmbedded } from "../../src/store/embedded.js";
import { openStore } from "../../src/store/index.js";
import { runTs } from "../setup/index.js";

let folder: string;
let database: { dataDir: string };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-faults-"));
  database = { dataDir: join(folder, "state") };
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("the embedded database", () => {
  it("loses no committed transaction and keeps none in part, however often it is killed with -9", async () => {
    let expected = 0;
    for (let round = 1; round <= 3; round += 1) {
      const child = runTs(new URL("./children/open-store.ts", import.meta.url), [JSON.stringify(database), "insert"]);
      let last = 0;
      while (last < 5 * round) last = Number(await child.waitFor("committed"));
      child.child.kill("SIGKILL");
      await child.ended;
      expected += last;
    }
    const store = await openStore({ database });
    const { rows } = await sql<{ rows: string; batches: string }>`
      select count(*) as rows, count(*) filter (where row = 20) as batches from clara.batches`.execute(store.db);
    expect(Number(rows[0]?.batches)).toBeGreaterThanOrEqual(expected);
    expect(Number(rows[0]?.rows)).toBe(20 * Number(rows[0]?.batches));
    await store.close();
  });

  it("does not hang when its engine does, and names its folder when the files are damaged", async () => {
    const embedded = await openEmbedded({ ...database, onFailure: () => {}, closeTimeoutMs: 2000 });
    await embedded.pool.query("create table fill (text text)");
    // What the engine cannot get over: it stands still in its last checkpoint.
    await rm(join(database.dataDir, "database", "pg_wal"), { recursive: true });
    const filling = async () => {
      for (;;) await embedded.pool.query("insert into fill select string_agg(md5(random()::text), '') from generate_series(1, 50000)");
    };
    await expect(filling()).rejects.toMatchObject({ code: "58P01" });
    await expect(embedded.close()).rejects.toMatchObject({ code: "store_unavailable", message: expect.stringContaining(database.dataDir) });

    await expect(openStore({ database })).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringMatching(new RegExp(`${database.dataDir}.*does not start.*backup`)),
    });
  });
});
