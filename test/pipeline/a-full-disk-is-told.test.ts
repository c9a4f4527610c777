import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StorageError } from "../../src/errors.js";
import type { JournalEntry, Store } from "../../src/store/index.js";
import { createHarness } from "../setup/index.js";
import { buildRooms } from "./support/rooms.js";

const good = {
  prompt: "Who is the caretaker of the greenhouse?",
  response: "The caretaker of the greenhouse is Mr Villanueva.",
  rating: 1,
};

describe("a journal whose disk is full", () => {
  const harness = createHarness("embedded");
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(() => harness.reset());

  it("refuses the feedback with a code, and makes it durable before it acknowledges its repetition", async () => {
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
});
