import { monitorEventLoopDelay } from "node:perf_hooks";
import { sql } from "kysely";
import { afterEach, expect, it } from "vitest";
import { inTransaction } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";

describeEachStore("a store", (harness) => {
  afterEach(() => harness.reset());

  it("closes once, however often it is asked, and refuses every call after that", async () => {
    const store = await harness.open();
    await Promise.all([store.close(), store.close()]);
    await store.close();
    await expect(sql`select 1`.execute(store.db)).rejects.toMatchObject({ code: "store_closed" });
    await expect(store.db.transaction().execute(async () => {})).rejects.toMatchObject({ code: "store_closed" });
    await expect(store.withLock("any", async () => {})).rejects.toMatchObject({ code: "store_closed" });
    if (store.journal)
      await expect(store.journal.append({ kind: "test", id: "1", payload: null })).rejects.toMatchObject({ code: "store_closed" });
  });

  it("is found as it was left", async () => {
    const first = await harness.open();
    await sql`create table clara.kept (id int)`.execute(first.db);
    await sql`insert into clara.kept values (7)`.execute(first.db);
    await first.close();
    const second = await harness.open();
    expect((await sql`select id from clara.kept`.execute(second.db)).rows).toEqual([{ id: 7 }]);
  });

  it("leaves the event loop free during a long query", async () => {
    const store = await harness.open();
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const started = performance.now();
    await sql`select count(*) from generate_series(1, 3000000) as a(n) where md5(n::text) like 'a%'`.execute(store.db);
    const tookMs = performance.now() - started;
    delay.disable();
    expect(tookMs).toBeGreaterThan(200);
    // A query on the loop itself would hold it up for as long as it takes.
    expect(delay.max / 1e6).toBeLessThan(tookMs / 2);
  });

  it("undoes a transaction whose work fails, and joins one that is open", async () => {
    const store = await harness.open();
    await sql`create table clara.steps (id int)`.execute(store.db);
    await inTransaction(store.db, async (outer) => {
      await sql`insert into clara.steps values (1)`.execute(outer);
      await inTransaction(outer, async (inner) => {
        expect(inner).toBe(outer);
        await sql`insert into clara.steps values (2)`.execute(inner);
      });
    });
    await expect(
      inTransaction(store.db, async (transaction) => {
        await sql`insert into clara.steps values (3)`.execute(transaction);
        throw new RangeError("no");
      }),
    ).rejects.toThrow(RangeError);
    expect((await sql`select id from clara.steps order by id`.execute(store.db)).rows).toEqual([{ id: 1 }, { id: 2 }]);
  });

  it("opens for a caller who waits, not for one who left", async () => {
    await expect(harness.open({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
    await harness.open();
  });
});
