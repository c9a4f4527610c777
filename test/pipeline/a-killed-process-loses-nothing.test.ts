import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../src/store/index.js";
import { describeEachStore, runTs } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { buildRooms } from "./support/rooms.js";

/** On each database; with the failpoints the suite kills 52 times. `npm run chaos` kills a thousand times. */
const CHAOS_KILLS = Number(process.env.CLARA_CHAOS_KILLS || 12);

const app = new URL("./support/crashing-app.ts", import.meta.url);
const folders: string[] = [];
const newFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), "clara-crash-"));
  folders.push(folder);
  return folder;
};
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function feedbackFile(folder: string, domain: string, count = 30): string {
  const file = join(folder, "feedback.json");
  const inputs = corrections(facts(count), { domain }).map((input, index) => ({ ...input, idempotencyKey: `${domain}-${index}` }));
  writeFileSync(file, JSON.stringify(inputs));
  return file;
}

function acknowledged(folder: string): string[] {
  try {
    return readFileSync(join(folder, "acknowledged.txt"), "utf8").trim().split("\n");
  } catch {
    return [];
  }
}

/** Every acknowledged feedback is in the table under the id that was told. */
async function expectAllStored(folder: string, pipeline: string, database: string | { dataDir: string }): Promise<void> {
  const store = await openStore({ database });
  const rows = await store.db.selectFrom("feedback").select(["id", "idempotency_key"]).where("pipeline", "=", pipeline).execute();
  const stored = new Set(rows.map((row) => `${row.idempotency_key} ${row.id}`));
  const lost = acknowledged(folder).filter((line) => !stored.has(line));
  expect(lost).toEqual([]);
  expect(new Set(rows.map((row) => row.idempotency_key)).size).toBe(rows.length);
  await store.close();
}

const FAILPOINTS = [
  "collect.started",
  "collect.committed",
  "prepare.started",
  "prepare.created",
  "prepare.ended",
  "prepare.committed",
  "train.started",
  "train.noted",
  "train.created",
  "train.ended",
  "train.committed",
  "evaluate.started",
  "evaluate.ended",
  "evaluate.committed",
  "gate.started",
  "gate.ended",
  "gate.committed",
  "activate.started",
  "candidate.registered",
  "activate.loaded",
  "activate.ended",
  "activate.committed",
];

describeEachStore("after a kill", (harness) => {
  let database: string | { dataDir: string };
  beforeAll(async () => {
    database = await harness.database();
    await (await harness.open()).close();
  });
  const address = () => (typeof database === "string" ? database : database.dataDir);

  // the embedded database starts more slowly: there every fourth point
  const points = harness.kind === "postgres" ? FAILPOINTS : FAILPOINTS.filter((_, index) => index % 4 === 1);
  it.each(points)(
    "at %s the cycle goes on there, every sample is used exactly once, and what serves has passed its gate",
    { timeout: 120_000 },
    async (failpoint) => {
      const folder = newFolder();
      const domain = `crash-${failpoint.replace(".", "-")}`;
      const file = feedbackFile(folder, domain);
      const first = runTs(app, [address(), folder, domain, file, failpoint]);
      expect(await first.ended).toBeNull();
      expect(first.child.signalCode).toBe("SIGKILL");
      const second = runTs(app, [address(), folder, domain, file]);
      const [status, ...ledger] = (await second.waitFor("ended ")).split(" ");
      expect(status).toBe("promoted");
      expect(JSON.parse(ledger.join(" "))).toMatchObject({ received: 90, accepted: 90, waiting: 0, claimed: 0, lost: 0, usedTwice: 0 });
      expect(await second.ended).toBe(0);
      await expectAllStored(folder, domain, database);
    },
  );

  it("at random instants, again and again, nothing acknowledged is lost, nothing is used twice, and what serves has passed its gate", {
    timeout: CHAOS_KILLS * 60_000,
  }, async () => {
    let kills = 0;
    for (let campaign = 0; kills < CHAOS_KILLS; campaign++) {
      const folder = newFolder();
      const domain = `crash-at-random-${campaign}`;
      const file = feedbackFile(folder, domain, 60);
      let ended: string | null = null;
      for (let round = 0; ended === null; round++) {
        const run = runTs(app, [address(), folder, domain, file]);
        await run.waitFor("ready");
        const finished = run.waitFor("ended ").catch(() => null);
        const timer = delay(20 + round * 120 + Math.random() * 120).then(() => null);
        ended = await Promise.race([finished, timer]);
        if (ended === null) {
          run.child.kill("SIGKILL");
          kills++;
          ended = await finished;
        }
        await run.ended;
      }
      expect(ended).toMatch(/^promoted/);
      expect(JSON.parse((ended as string).slice("promoted ".length))).toMatchObject({
        received: 180,
        accepted: 180,
        lost: 0,
        usedTwice: 0,
      });
      await expectAllStored(folder, domain, database);
    }
  });
});

describe("after a power loss", () => {
  it("the journal brings back what the embedded database had acknowledged and lost", { timeout: 120_000 }, async () => {
    const folder = newFolder();
    const dataDir = join(folder, "state");
    await (await openStore({ database: { dataDir } })).close();
    await cp(join(dataDir, "database"), join(folder, "old-database"), { recursive: true });
    const file = feedbackFile(folder, "power", 20);
    const run = runTs(app, [dataDir, folder, "power", file, "collect.started"]);
    await run.ended;
    expect(acknowledged(folder)).toHaveLength(60);
    // what an operating system that never wrote its pages back leaves: the database of before, and the journal
    await rm(join(dataDir, "database"), { recursive: true });
    await rename(join(folder, "old-database"), join(dataDir, "database"));
    const store = await openStore({ database: { dataDir } });
    const { pipeline } = buildRooms(store, { name: "power" }, folder);
    expect(await pipeline.recover()).toBe(60);
    expect(await pipeline.ledger()).toMatchObject({ received: 60, accepted: 60, waiting: 60, lost: 0 });
    // what is sent again, because its answer was lost too, is known
    const [first] = JSON.parse(readFileSync(file, "utf8"));
    expect(await pipeline.addFeedback(first)).toMatchObject({ status: "duplicate" });
    await store.close();
    await expectAllStored(folder, "power", { dataDir });
  });

  it("a reviewer's decision and a person's erasure hold too", { timeout: 120_000 }, async () => {
    const folder = newFolder();
    const dataDir = join(folder, "state");
    await (await openStore({ database: { dataDir } })).close();
    await cp(join(dataDir, "database"), join(folder, "old-database"), { recursive: true });
    const run = runTs(new URL("./support/reviewing-app.ts", import.meta.url), [dataDir, folder]);
    await run.ended;
    expect(run.errors()).toBe("");
    expect(run.child.signalCode).toBe("SIGKILL");
    await rm(join(dataDir, "database"), { recursive: true });
    await rename(join(folder, "old-database"), join(dataDir, "database"));
    const store = await openStore({ database: { dataDir } });
    const { pipeline } = buildRooms(store, { name: "review" }, folder);
    await pipeline.recover();
    const rows = await store.db.selectFrom("feedback").select(["status", "prompt", "subject_id"]).orderBy("created_at").execute();
    expect(rows).toEqual([
      { status: "accepted", prompt: expect.stringContaining("Doubtful"), subject_id: "stays" },
      { status: "accepted", prompt: null, subject_id: expect.stringMatching(/^erased:/) },
      { status: "accepted", prompt: expect.stringContaining("greenhouse"), subject_id: "namesake" },
      { status: "accepted", prompt: null, subject_id: expect.stringMatching(/^erased:/) },
      { status: "accepted", prompt: expect.stringContaining("greenhouse"), subject_id: "stays" },
    ]);
    expect(await pipeline.ledger()).toMatchObject({ accepted: 5, waiting: 3, setAside: 2, lost: 0 });
    await store.close();
  });
});
