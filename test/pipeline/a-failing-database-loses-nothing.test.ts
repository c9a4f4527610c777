import { sql } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ClaraError } from "../../src/errors.js";
import type { ContinuousLearningPipeline } from "../../src/pipeline/index.js";
import { openStore, type Store } from "../../src/store/index.js";
import { type OwnServer, startOwnServer } from "../setup/index.js";
import { buildRooms } from "./support/rooms.js";

let names = 0;

/** What a host does: it sends again what was not acknowledged, under the same key, until it is. Gives the acknowledged ids by key. */
async function sendAll(
  pipeline: ContinuousLearningPipeline,
  count: number,
  onSent: (sent: number) => void,
): Promise<{ ids: Map<string, string>; failures: string[] }> {
  const ids = new Map<string, string>();
  const failures: string[] = [];
  const keys = Array.from({ length: count }, (_, index) => `key-${index}`);
  const send = async (key: string): Promise<void> => {
    for (;;) {
      try {
        const { id } = await pipeline.addFeedback({
          prompt: `Which key opens door ${key}?`,
          response: `Key number ${key} opens the door.`,
          rating: 1,
          idempotencyKey: key,
          subjectId: `person-${key}`,
        });
        ids.set(key, id);
        onSent(ids.size);
        return;
      } catch (error) {
        if (!ClaraError.isInstance(error) || !error.isRetryable) throw error;
        failures.push(error.code);
      }
    }
  };
  for (let start = 0; start < keys.length; start += 8) await Promise.all(keys.slice(start, start + 8).map(send));
  return { ids, failures };
}

async function expectAllStored(store: Store, pipeline: string, ids: ReadonlyMap<string, string>): Promise<void> {
  const rows = await store.db.selectFrom("feedback").select(["id", "idempotency_key"]).where("pipeline", "=", pipeline).execute();
  expect(new Map(rows.map((row) => [row.idempotency_key, row.id]))).toEqual(ids);
}

describe("on a PostgreSQL that fails", () => {
  let server: OwnServer;
  let admin: pg.Client;
  beforeAll(async () => {
    server = await startOwnServer();
  });
  afterAll(async () => {
    await server.stop();
  });
  const rooms = async (options: pg.PoolConfig = {}) => {
    const pool = new pg.Pool({ connectionString: server.url, ...options });
    const store = await openStore({ database: pool });
    const name = `failing-${names++}`;
    return { pool, name, ...buildRooms(store, { name }), end: () => store.close().then(() => pool.end()) };
  };

  it("a crash of the server loses nothing that was acknowledged, and what is sent again is stored once", async () => {
    const { store, pipeline, name, end } = await rooms();
    let crash: Promise<void> | null = null;
    const { ids } = await sendAll(pipeline, 400, (sent) => {
      if (sent === 120) crash = server.crashAndRestart();
    });
    await crash;
    expect(ids.size).toBe(400);
    await expectAllStored(store, name, ids);
    expect(await pipeline.ledger()).toMatchObject({ received: 400, accepted: 400, lost: 0, usedTwice: 0 });
    await end();
  });

  it("connections that are cut again and again lose nothing", async () => {
    const { store, pipeline, name, end } = await rooms({ application_name: "clara-cut" });
    admin = new pg.Client({ connectionString: server.url });
    await admin.connect();
    const cuts: Promise<unknown>[] = [];
    const { ids } = await sendAll(pipeline, 300, (sent) => {
      if (sent % 50 === 0 && sent < 300)
        cuts.push(admin.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'clara-cut'"));
    });
    const cut = (await Promise.all(cuts)).reduce((sum: number, result) => sum + (result as pg.QueryResult).rowCount!, 0);
    expect(cut).toBeGreaterThanOrEqual(5);
    await expectAllStored(store, name, ids);
    expect(await pipeline.ledger()).toMatchObject({ received: 300, lost: 0, usedTwice: 0 });
    await admin.end();
    await end();
  });

  it("a pool without a free connection refuses with a code that says to try again, and keeps nothing of it", async () => {
    const { pool, store, pipeline, name, end } = await rooms({ max: 3, connectionTimeoutMillis: 300 });
    await pipeline.recover();
    const held = await Promise.all([pool.connect(), pool.connect(), pool.connect()]);
    const input = {
      prompt: "Which key opens the chapel?",
      response: "Key number twelve opens the chapel.",
      rating: 1,
      idempotencyKey: "k",
    };
    await expect(pipeline.addFeedback(input)).rejects.toMatchObject({ code: "store_unavailable", isRetryable: true });
    for (const client of held) client.release();
    expect(await store.db.selectFrom("feedback").select("id").where("pipeline", "=", name).execute()).toEqual([]);
    expect(await pipeline.addFeedback(input)).toMatchObject({ status: "accepted" });
    await end();
  });

  it("a clock that jumps back and forth loses nothing and starts nothing by itself", async () => {
    const pool = new pg.Pool({ connectionString: server.url });
    const store = await openStore({ database: pool });
    let now = Date.parse("2026-06-01T12:00:00Z");
    const { pipeline } = buildRooms(store, { name: "jumping", clock: () => now });
    for (const [index, jump] of [0, -3_600_000, 86_400_000 * 3_650, -86_400_000 * 7_300, 60_000].entries()) {
      now += jump;
      const input = {
        prompt: `Which key opens door ${index}?`,
        response: `Key number ${index} opens the door.`,
        rating: 1,
        subjectId: "one",
      };
      expect(await pipeline.addFeedback(input)).toMatchObject({ status: "accepted" });
      expect(await pipeline.checkTriggers()).toEqual([]);
    }
    expect(await pipeline.ledger()).toMatchObject({ received: 5, accepted: 5, waiting: 5, lost: 0 });
    expect((await sql`select 1 from clara.cycles where pipeline = 'jumping'`.execute(store.db)).rows).toEqual([]);
    await store.close();
    await pool.end();
  });
});
