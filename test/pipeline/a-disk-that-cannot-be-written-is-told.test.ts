import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StorageError } from "../../src/errors.js";
import type { JournalEntry, Store } from "../../src/store/index.js";
import { FileJournal } from "../../src/store/journal.js";
import { createHarness } from "../setup/index.js";
import { buildRooms } from "./support/rooms.js";

const good = {
  prompt: "Who is the caretaker of the greenhouse?",
  response: "The caretaker of the greenhouse is Mr Villanueva.",
  rating: 1,
};

describe("a journal whose disk cannot be written", () => {
  const harness = createHarness("embedded");
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(() => harness.reset());

  it("because it is full refuses the feedback with a code, and makes it durable before it acknowledges its repetition", async () => {
    let isFull = true;
    const written: string[] = [];
    const journal = {
      append: async (entry: JournalEntry) => {
        if (isFull) throw new StorageError("disk_full", "No space.", { isRetryable: true });
        written.push(entry.id);
      },
      replay: async () => 0,
      checkpoint: async () => {},
    };
    const full = Object.create(store, { journal: { value: journal } }) as Store;
    const { pipeline } = buildRooms(full);
    await expect(pipeline.addFeedback(good)).rejects.toMatchObject({ code: "disk_full", isRetryable: true });
    isFull = false;
    const again = await pipeline.addFeedback(good);
    // the database has it; the journal must have it before anybody is told that it is known
    expect(again.status).toBe("duplicate");
    expect(written).toHaveLength(2);
    expect(again.reason).toContain(written[0]);
    expect(await pipeline.ledger()).toMatchObject({ received: 2, accepted: 1, duplicates: 1, waiting: 1, lost: 0 });
  });

  it("that turns read-only refuses the feedback, names the file, and keeps what was acknowledged before and after", async () => {
    const folder = await mkdtemp(join(tmpdir(), "clara-journal-"));
    let isReadOnly = false;
    const file = await FileJournal.open({
      folder,
      sync: async (handle) => {
        if (isReadOnly) throw Object.assign(new Error("EROFS: read-only file system, fdatasync"), { code: "EROFS" });
        await handle.datasync();
      },
    });
    const journal = { append: file.append.bind(file), replay: file.replay.bind(file), checkpoint: async () => {} };
    const { pipeline } = buildRooms(Object.create(store, { journal: { value: journal } }) as Store);
    const add = (place: string) =>
      pipeline.addFeedback({ ...good, prompt: `Who is the caretaker of the ${place}?`, response: `The ${place} is Mr Silva's.` });
    const before = await add("orchard");
    isReadOnly = true;
    await expect(add("stable")).rejects.toMatchObject({
      code: "store_unavailable",
      isRetryable: true,
      message: expect.stringMatching(new RegExp(`^Cannot write ${folder}.* \\(EROFS\\).*Make the folder writable`)),
    });
    isReadOnly = false;
    const again = await add("stable");
    const after = await add("windmill");
    expect([before, again, after].map(({ status }) => status)).toEqual(["accepted", "duplicate", "accepted"]);
    await file.close();
    const kept: string[] = [];
    const reopened = await FileJournal.open({ folder });
    await reopened.replay("feedback", async ({ id }) => void kept.push(id));
    await reopened.close();
    for (const { id } of [before, again, after]) expect(kept).toContain(id);
  });
});
