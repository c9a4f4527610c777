import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../src/store/index.js";
import { FileJournal } from "../../src/store/journal.js";
import type { JournalEntry } from "../../src/store/store.js";
import { runTs } from "../setup/index.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-journal-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const entry = (id: number | string, kind = "test"): JournalEntry => ({
  kind,
  id: String(id),
  payload: { text: `payload ${id} äöü 🙂\n"` },
});
const segment = (number: number) => join(folder, `${String(number).padStart(8, "0")}.jsonl`);

async function idsOf(journal: FileJournal, kind = "test"): Promise<string[]> {
  const ids: string[] = [];
  await journal.replay(kind, async ({ id }) => void ids.push(id));
  return ids;
}

async function written(...ids: number[]): Promise<void> {
  const journal = await FileJournal.open({ folder });
  for (const id of ids) await journal.append(entry(id));
  await journal.close();
}

describe("the journal", () => {
  it("gives back every acknowledged entry unchanged, oldest first, by kind", async () => {
    const journal = await FileJournal.open({ folder });
    await journal.append(entry(1));
    await journal.append(entry("a", "other"));
    await journal.append(entry(2));
    await journal.close();

    const again = await FileJournal.open({ folder });
    await again.append(entry(3));
    const seen: JournalEntry[] = [];
    expect(await again.replay("test", async (found) => void seen.push(found))).toBe(3);
    expect(seen).toEqual([entry(1), entry(2), entry(3)]);
    expect(await idsOf(again, "other")).toEqual(["a"]);
    await again.close();
  });

  it("keeps any JSON payload as it was", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), async (payloads) => {
        const inner = await mkdtemp(join(folder, "property-"));
        const journal = await FileJournal.open({ folder: inner, sync: async () => {} });
        await Promise.all(payloads.map((payload, id) => journal.append({ kind: "test", id: String(id), payload })));
        const seen: unknown[] = [];
        await journal.replay("test", async ({ payload }) => void seen.push(payload));
        await journal.close();
        expect(JSON.stringify(seen)).toBe(JSON.stringify(payloads));
      }),
      { numRuns: 50 },
    );
  });

  it("survives a torn write at every byte of the last line", async () => {
    await written(1, 2);
    const whole = await readFile(segment(1));
    const firstLine = whole.indexOf(0x0a) + 1;
    for (let cut = firstLine; cut < whole.length; cut += 1) {
      await rm(folder, { recursive: true });
      await writeSegment(whole.subarray(0, cut));
      const journal = await FileJournal.open({ folder });
      await journal.append(entry(3));
      expect(await idsOf(journal), `cut at byte ${cut}`).toEqual(["1", "3"]);
      await journal.close();
    }
  });

  it("survives blocks of the last batch reaching the disk out of order", async () => {
    const journal = await FileJournal.open({ folder });
    await journal.append(entry(1));
    await Promise.all([journal.append(entry(2)), journal.append(entry(3)), journal.append(entry(4))]);
    await journal.close();
    const lines = (await readFile(segment(1), "utf8")).split("\n");
    lines[2] = "\0".repeat(lines[2]!.length);
    await writeFile(segment(1), lines.join("\n"));

    const again = await FileJournal.open({ folder });
    expect(await idsOf(again)).toEqual(["1", "2"]);
    await again.close();
  });

  it("names file and line where acknowledged entries are damaged, and touches nothing", async () => {
    await written(1, 2, 3);
    const damaged = (await readFile(segment(1), "utf8")).replace("payload 2", "payload 9");
    await writeFile(segment(1), damaged);
    await expect(FileJournal.open({ folder })).rejects.toMatchObject({ code: "journal_corrupt", details: { path: segment(1), line: 2 } });
    expect(await readFile(segment(1), "utf8")).toBe(damaged);
  });

  it("does not take damage in an older file for a torn write", async () => {
    await written(1, 2);
    await written(3);
    await truncate(segment(1), (await readFile(segment(1))).length - 3);
    await expect(FileJournal.open({ folder })).rejects.toMatchObject({ code: "journal_corrupt", details: { path: segment(1), line: 2 } });
  });

  it("shares one disk sync among appends of the same moment, and acknowledges none before it", async () => {
    let syncs = 0;
    let isSynced = false;
    const journal = await FileJournal.open({
      folder,
      sync: async (handle) => {
        await handle.datasync();
        syncs += 1;
        isSynced = true;
      },
    });
    await Promise.all(Array.from({ length: 200 }, (_, id) => journal.append(entry(id)).then(() => expect(isSynced).toBe(true))));
    expect(syncs).toBeLessThanOrEqual(2);
    expect((await idsOf(journal)).length).toBe(200);
    await journal.append(entry("later"));
    expect(syncs).toBeLessThanOrEqual(3);
    await journal.close();
  });

  it("rejects what does not reach the disk, keeps nothing of it, and goes on when there is space again", async () => {
    let isFull = false;
    const journal = await FileJournal.open({
      folder,
      sync: async (handle) => {
        if (isFull) throw Object.assign(new Error("ENOSPC: no space left on device, fdatasync"), { code: "ENOSPC" });
        await handle.datasync();
      },
    });
    await journal.append(entry(1));
    isFull = true;
    await expect(Promise.allSettled([journal.append(entry(2)), journal.append(entry(3))])).resolves.toMatchObject([
      { status: "rejected", reason: { code: "disk_full", isRetryable: true } },
      { status: "rejected", reason: { code: "disk_full" } },
    ]);
    isFull = false;
    await journal.append(entry(4));
    expect(await idsOf(journal)).toEqual(["1", "4"]);
    await journal.close();
    const again = await FileJournal.open({ folder });
    expect(await idsOf(again)).toEqual(["1", "4"]);
    await again.close();
  });

  it("rejects a payload that is no JSON, and appends after close", async () => {
    const journal = await FileJournal.open({ folder });
    await expect(journal.append({ kind: "test", id: "1", payload: 1n })).rejects.toThrow();
    await journal.append(entry(2));
    await journal.close();
    await expect(journal.append(entry(3))).rejects.toMatchObject({ code: "store_closed" });
    await journal.close();
    const again = await FileJournal.open({ folder });
    expect(await idsOf(again)).toEqual(["2"]);
    await again.close();
  });

  it("drops at a checkpoint only what was replayed and flushed, never what came meanwhile", async () => {
    await written(1);
    const journal = await FileJournal.open({ folder });
    let flushes = 0;
    const countFlush = async () => {
      flushes += 1;
    };
    await journal.checkpoint(countFlush);
    expect(flushes).toBe(0);
    expect(await idsOf(journal)).toEqual(["1"]);

    await journal.append(entry(2));
    await journal.checkpoint(async () => {
      flushes += 1;
      await journal.append(entry(3));
    });
    expect(flushes).toBe(1);
    expect(await idsOf(journal)).toEqual(["3"]);

    await expect(journal.checkpoint(() => Promise.reject(new Error("no disk")))).rejects.toThrow("no disk");
    expect(await idsOf(journal)).toEqual(["3"]);
    await journal.close();
  });

  it("keeps every append that races with a checkpoint", async () => {
    const journal = await FileJournal.open({ folder, segmentBytes: 1 });
    const acknowledged: string[] = [];
    const flushed: string[] = [];
    let isDone = false;
    const appending = (async () => {
      for (let id = 0; id < 300; id += 1) {
        await journal.append(entry(id));
        acknowledged.push(String(id));
      }
      isDone = true;
    })();
    while (!isDone) {
      let count = 0;
      // What was acknowledged before the flush began is what a flush may claim.
      await journal.checkpoint(async () => {
        count = acknowledged.length;
      });
      flushed.splice(0, flushed.length, ...acknowledged.slice(0, count));
    }
    await appending;
    const kept = new Set([...flushed, ...(await idsOf(journal))]);
    expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
    await journal.close();
  });

  it("tells when the file has grown, once", async () => {
    let told = 0;
    const onSegmentFull = () => {
      told += 1;
    };
    const journal = await FileJournal.open({ folder, segmentBytes: 500, onSegmentFull });
    for (let id = 0; id < 20; id += 1) await journal.append(entry(id));
    expect(told).toBe(1);
    await journal.checkpoint(async () => {});
    for (let id = 0; id < 20; id += 1) await journal.append(entry(id));
    expect(told).toBe(2);
    await journal.close();
  });
});

describe("the journal of an embedded store", () => {
  it("replays every entry that a killed process acknowledged", async () => {
    const database = { dataDir: join(folder, "state") };
    const child = runTs(new URL("./children/open-store.ts", import.meta.url), [JSON.stringify(database), "journal"]);
    let last = 0;
    while (last < 100) last = Number(await child.waitFor("acknowledged"));
    child.child.kill("SIGKILL");
    await child.ended;

    const store = await openStore({ database });
    const ids: number[] = [];
    await store.journal!.replay("test", async ({ id }) => void ids.push(Number(id)));
    expect(ids.length).toBeGreaterThanOrEqual(last);
    expect(ids).toEqual(ids.map((_, index) => index + 1));
    await store.close();
    expect(await readdir(join(database.dataDir, "journal"))).toEqual([]);
  });

  it("keeps what nobody replayed, over a clean close", async () => {
    const database = { dataDir: join(folder, "state") };
    const store = await openStore({ database });
    await store.close();
    await appendFile(join(database.dataDir, "journal", "00000001.jsonl"), await line(7));

    const second = await openStore({ database });
    await second.close();
    const third = await openStore({ database });
    const ids: string[] = [];
    await third.journal!.replay("test", async ({ id }) => void ids.push(id));
    expect(ids).toEqual(["7"]);
    await third.close();
  });
});

async function line(id: number): Promise<string> {
  const inner = await mkdtemp(join(folder, "line-"));
  const journal = await FileJournal.open({ folder: inner });
  await journal.append(entry(id));
  await journal.close();
  return readFile(join(inner, "00000001.jsonl"), "utf8");
}

async function writeSegment(bytes: Buffer): Promise<void> {
  const journal = await FileJournal.open({ folder });
  await journal.close();
  await writeFile(segment(1), bytes);
}
