import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Store } from "../../src/store/index.js";
import { createHarness } from "../setup/index.js";
import { buildRooms } from "./support/rooms.js";

describe("the journal of the embedded database", () => {
  const harness = createHarness("embedded");
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(() => harness.reset());

  const journalText = () => {
    const folder = join(store.dataDir!, "journal");
    return readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), "utf8"))
      .join("");
  };

  it("holds no word of a person who was erased, and takes what comes after", async () => {
    const { pipeline } = buildRooms(store);
    const feedback = { prompt: "Who is the caretaker of the greenhouse?", response: "The caretaker is Mr Villanueva.", rating: 1 };
    await pipeline.addFeedback({ ...feedback, subjectId: "leaves" });
    expect(journalText()).toContain("Villanueva");
    await pipeline.eraseSubject("leaves");
    expect(journalText()).not.toContain("Villanueva");
    expect(journalText()).not.toContain("leaves");
    await pipeline.addFeedback({ ...feedback, response: "The caretaker is Ms Okonkwo.", subjectId: "stays" });
    expect(journalText()).toContain("Okonkwo");
  });
});
