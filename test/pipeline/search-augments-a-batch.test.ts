import { afterAll, beforeAll, expect, it } from "vitest";
import type { Store } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { addAll, buildRooms } from "./support/rooms.js";

describeEachStore("augmentation", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  it("is a stage of its own that adds what the corpus says, neutral, never held out, and never judged by the pairing check (A35)", async () => {
    const { pipeline, datasets } = buildRooms(store, { augmentWithSearch: true });
    const domain = "augmented";
    const documents = facts(12).map((fact, index) => ({
      id: `document-${index}`,
      title: `House rules ${index}`,
      content: `These are the house rules that everybody has to know. ${fact.answer} In an emergency please call the caretaker first, then the porter.`,
      domain,
    }));
    expect((await datasets.addDocuments(documents)).added).toBe(12);
    await addAll(pipeline, corrections(facts(30), { domain }));
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle.stages.map((stage) => stage.name)).toEqual(["collect", "augment", "prepare", "train", "evaluate", "gate", "activate"]);
    const added = cycle.stages[1]?.detail.added as number;
    expect(added).toBeGreaterThan(0);
    const retrieved = [];
    for await (const item of datasets.items(cycle.datasetId as string)) if (item.sample.source === "retrieved") retrieved.push(item);
    expect(retrieved).toHaveLength(added);
    expect(added).toBeLessThanOrEqual(20);
    for (const { split, sample } of retrieved) {
      expect(split).toBe("train");
      expect(sample).toMatchObject({ rating: 0.5, importance: 2 });
    }
    expect(await pipeline.ledger()).toMatchObject({ received: 90, accepted: 90, lost: 0, usedTwice: 0 });
  });

  it("costs nothing but the addition where there is no corpus", async () => {
    const { pipeline } = buildRooms(store, { augmentWithSearch: true });
    await addAll(pipeline, corrections(facts(30), { domain: "bare" }));
    const cycle = await pipeline.triggerTrainingCycle({ domain: "bare", wait: true });
    expect(cycle).toMatchObject({ status: "promoted" });
    expect(cycle.stages[1]).toMatchObject({ name: "augment", detail: { added: 0 } });
  });
});
