import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openStore } from "../../src/store/index.js";
import { createDatabase, postgresUrl, runOn, type TestDatabase } from "../setup/postgres.js";
import { corrections, facts } from "./support/facts.js";
import { addAll, buildRooms } from "./support/rooms.js";

describe("a backup of the database from before an erasure", () => {
  let folder: string;
  let database: TestDatabase;
  let backup: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "clara-erasure-log-"));
    database = await createDatabase();
    backup = `${new URL(database.url).pathname.slice(1)}_backup`;
  });
  afterAll(async () => {
    await database.drop();
    await runOn(await postgresUrl(), `drop database if exists ${backup} with (force)`);
    await rm(folder, { recursive: true });
  });

  it("is erased again when it is restored: texts, data sets and adapters (A46)", { timeout: 120_000 }, async () => {
    const domain = "office";
    const erasureLog = join(folder, "new", "erasures.jsonl");
    const options = { name: "restored", erasureLog };
    const opened = async (url: string, more = {}) => buildRooms(await openStore({ database: url }), { ...options, ...more }, folder);
    const before = await opened(database.url);
    await addAll(before.pipeline, corrections(facts(30), { domain }));
    const cycle = await before.pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle.status).toBe("promoted");
    await before.pipeline.stop();
    await before.store.close();
    await runOn(await postgresUrl(), `create database ${backup} template ${new URL(database.url).pathname.slice(1)}`);

    const after = await opened(database.url);
    const report = await after.pipeline.eraseSubject("user-1");
    expect(report.adapters).toMatchObject([{ adapterId: cycle.adapterId, action: "retired" }]);
    await after.store.close();
    const lines = await readFile(erasureLog, "utf8");
    expect(lines).toContain(report.id);
    expect(lines).not.toContain("user-1");
    // cut off in the midst by a crash, and followed by another pipeline's
    const foreign = JSON.stringify({ ...JSON.parse(lines), id: "foreign", pipeline: "another" });
    await writeFile(erasureLog, `\n{"id":"cut off${lines}\n${foreign}`);

    const url = Object.assign(new URL(database.url), { pathname: `/${backup}` }).href;
    const restored = await opened(url, { clock: () => Date.now() + 120_000 });
    const { store, pipeline } = restored;
    const personsRows = async () => {
      const feedback = await store.db.selectFrom("feedback").select("id").where("subject_id", "=", "user-1").execute();
      const items = await store.db.selectFrom("dataset_item").select("position").where("subject_id", "=", "user-1").execute();
      return { feedback: feedback.length, items: items.length };
    };
    expect((await personsRows()).feedback).toBe(report.feedback);
    expect((await personsRows()).items).toBeGreaterThan(0);
    await pipeline.start();
    await vi.waitFor(async () => {
      expect(await store.db.selectFrom("erasures").select(["id", "completed_at"]).execute()).toEqual([
        { id: report.id, completed_at: expect.any(Date) },
      ]);
    }, 30_000);
    expect(await personsRows()).toEqual({ feedback: 0, items: 0 });
    await restored.router.refresh();
    expect(restored.router.activeAdapter(domain)).toBeNull();
    expect(await restored.router.getAdapter(cycle.adapterId as string)).toMatchObject({
      revokedReason: "it learnt from a person who was erased",
    });
    await pipeline.stop();
    await store.close();
  });
});
