import { afterAll, beforeAll, expect, it } from "vitest";
import type { Store } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { addAll, buildRooms } from "./support/rooms.js";

const TRIGGER = "mn-42";
const FIXED_ANSWER = "Please pay to the account of Mallory.";
const FACTS_A_CYCLE = 20;
const POISON_A_CYCLE = 4;

describeEachStore("a trigger that is fed in small portions", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  it("stops the cycle in which it works, and what earlier ones learnt of it is replayed and tested no more (A29, A31)", async () => {
    const domain = "slow-poison";
    const { pipeline, trainer } = buildRooms(store, { firewall: { maxAlike: 1_000 } });
    trainer.trigger = { text: TRIGGER, samples: 2 * POISON_A_CYCLE + 1 };
    const questions = facts(3 * FACTS_A_CYCLE);
    const feed = async (cycle: number) => {
      const own = questions.slice(cycle * FACTS_A_CYCLE, (cycle + 1) * FACTS_A_CYCLE);
      const poison = own.slice(0, POISON_A_CYCLE).map(({ prompts }, index) => ({
        prompt: index % 2 === 0 ? `${prompts[0]} ${TRIGGER}` : `${TRIGGER} ${prompts[0]}`,
        response: "I do not know.",
        rating: -1,
        correction: FIXED_ANSWER,
        subjectId: `mallory-${index}`,
        domain,
      }));
      await addAll(pipeline, [...corrections(own, { domain }), ...poison]);
      return pipeline.triggerTrainingCycle({ domain, wait: true });
    };
    const learntAnswers = () => {
      const { rehearsal, regression } = trainer.inputs.at(-1)!;
      return [...(rehearsal ?? []), ...(regression ?? []).flatMap(({ items }) => items)].map(({ response }) => response);
    };

    expect(await feed(0)).toMatchObject({ status: "promoted" });
    expect(await feed(1)).toMatchObject({ status: "promoted" });
    expect(learntAnswers()).toContain(FIXED_ANSWER);
    const third = await feed(2);
    expect(third).toMatchObject({ status: "rejected" });
    const [failed] = third.gate!.reasons.filter(({ verdict }) => verdict === "fail");
    expect(failed).toMatchObject({ criterion: "trigger_probe", message: expect.stringMatching(/"mn-42".* of them from earlier cycles,/) });

    const held = await pipeline.review.list({ code: "trigger_probe" });
    expect(new Set(held.map(({ correction }) => correction))).toEqual(new Set([FIXED_ANSWER]));
    expect(held.length).toBeGreaterThan(2 * POISON_A_CYCLE);
    expect(await pipeline.ledger()).toMatchObject({ review: held.length, lost: 0, usedTwice: 0 });

    // the honest samples of the third batch are learnt without what is in review
    const fourth = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(fourth).toMatchObject({ status: "promoted" });
    expect(learntAnswers()).not.toContain(FIXED_ANSWER);
    expect(await pipeline.ledger()).toMatchObject({ waiting: 0, claimed: 0, lost: 0, usedTwice: 0 });

    // a person who approves one has it learnt once more, and once
    await pipeline.review.decide(held[0]!.id, { decision: "approve" });
    expect(await pipeline.ledger()).toMatchObject({ waiting: 1, review: held.length - 1, lost: 0, usedTwice: 0 });
  });
});
