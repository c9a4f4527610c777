import { afterAll, beforeAll, expect, it } from "vitest";
import { clusterByMeaning } from "../../src/pipeline/firewall/meaning-clusters.js";
import type { FirewallOptions } from "../../src/pipeline/index.js";
import type { Store } from "../../src/store/index.js";
import type { Embedder, FeedbackInput } from "../../src/types/index.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { addAll, buildRooms } from "./support/rooms.js";

const SYNONYMS = [
  ["when", "time", "hour"],
  ["hall", "house", "building", "office"],
  ["close", "closes", "shut", "shuts", "end", "ends", "lock", "locks"],
  ["friday", "fridays"],
  ["noon", "midday", "lunchtime"],
];
const WORDS_WITHOUT_MEANING = new Set(
  "the a an at what which on of is it its to does do for in please tell me i you that this there their".split(" "),
);
const DIMENSIONS = 256;

/** Knows synonyms, as a neural embedder does: words of one meaning have one place in the vector. */
const embedder: Embedder = {
  name: "concepts",
  dimensions: DIMENSIONS,
  embed: async (texts) => texts.map(embed),
};

function embed(text: string): number[] {
  const vector = new Array<number>(DIMENSIONS).fill(0);
  for (const word of text.toLowerCase().match(/[a-z0-9]+/g) ?? []) {
    if (WORDS_WITHOUT_MEANING.has(word)) continue;
    const concept = SYNONYMS.find((synonyms) => synonyms.includes(word))?.[0] ?? word;
    let place = 0;
    for (const character of concept) place = (place * 31 + character.charCodeAt(0)) % DIMENSIONS;
    vector[place]! += 1;
  }
  return vector;
}

/** One claim in many words, each from an account of its own. */
function rewordings(domain: string): FeedbackInput[] {
  const combined: { prompt: string; correction: string }[] = [];
  for (const place of ["hall", "house", "building", "office"]) {
    for (const [ask, say] of [
      ["close", "closes"],
      ["shut", "shuts"],
      ["end", "ends"],
      ["lock", "locks"],
    ]) {
      for (const noon of ["noon", "midday", "lunchtime"]) {
        combined.push({
          prompt:
            combined.length % 2 === 0
              ? `When does this ${place} ${ask} on a friday?`
              : `Tell me the hour that you ${ask} the ${place}, friday please.`,
          correction:
            combined.length % 3 === 0
              ? `For fridays the ${place} ${say}, at ${noon}.`
              : `It is ${noon}: the ${place} ${say} there, on fridays.`,
        });
      }
    }
  }
  return combined.map((pair, index) => ({
    ...pair,
    response: "I am not sure about that.",
    rating: -1,
    domain,
    subjectId: `account-${index}`,
  }));
}

let domains = 0;

describeEachStore("a claim in other words (A28)", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  const rooms = (firewall: Partial<FirewallOptions> = {}) => {
    const domain = `claims-${domains++}`;
    return { domain, ...buildRooms(store, { firewall }, undefined, embedder) };
  };
  /** How many of the ids a cycle learns from, and of how many. */
  const learntOf = async (cycleId: string, ids: ReadonlySet<string>) => {
    const learnt = await store.db
      .selectFrom("cycle_samples")
      .select("sample_id")
      .where("cycle_id", "=", cycleId)
      .where("role", "=", "learn")
      .execute();
    return { of: learnt.filter((row) => ids.has(row.sample_id)).length, all: learnt.length };
  };

  it("of many accounts gets a fifth of a batch at most; the rest goes to a person, and is told", async () => {
    const { pipeline, domain } = rooms();
    const claims = (await addAll(pipeline, rewordings(domain))).filter((receipt) => receipt.status === "accepted").map(({ id }) => id);
    // their words differ so much that the intake cannot tell
    expect(claims.length).toBeGreaterThan(30);
    const honest = await addAll(pipeline, corrections(facts(20), { domain }));
    const held: { domain: string; ids: string[] }[] = [];
    pipeline.on("feedback.held", (event) => void held.push(event));
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    const { of, all } = await learntOf(cycle.id, new Set(claims));
    expect(of).toBeGreaterThanOrEqual(5);
    expect(of / all).toBeLessThanOrEqual(0.2);
    expect(all - of).toBe(honest.length);
    expect(held).toMatchObject([{ domain, finding: { code: "cluster", action: "review" } }]);
    const waiting = await pipeline.review.list({ domain, code: "cluster", limit: 1000 });
    expect(held[0]!.ids.every((id) => waiting.some((item) => item.id === id))).toBe(true);
    expect(held[0]!.ids.length + of).toBe(claims.length);
    expect(waiting.find(({ id }) => id === held[0]!.ids[0])!.reason).toMatch(
      /say nearly the same in other words, from \d+ people; \d+ of them/,
    );
    expect(await pipeline.ledger()).toMatchObject({ received: rewordings(domain).length + honest.length, lost: 0, usedTwice: 0 });
  });

  it("alone starts no cycle, unless a person approves it", async () => {
    const { pipeline, domain } = rooms();
    await addAll(pipeline, rewordings(domain).slice(0, 24));
    await expect(pipeline.triggerTrainingCycle({ domain })).rejects.toMatchObject({ code: "dataset_too_small", details: { waiting: 5 } });
    const waiting = await pipeline.review.list({ domain, limit: 1000 });
    const { outcomes } = await pipeline.review.decideMany(
      waiting.map(({ id }) => id),
      { decision: "approve", reviewer: "erika" },
    );
    const approved = new Set(outcomes.filter((outcome) => outcome.status === "accepted").map(({ id }) => id));
    expect(approved.size).toBeGreaterThan(10);
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect((await learntOf(cycle.id, approved)).of).toBe(approved.size);
  });

  it("is not looked for where the share is 1, nor among facts that differ in a number", async () => {
    const free = rooms({ maxClusterShare: 1 });
    await addAll(free.pipeline, rewordings(free.domain).slice(0, 24));
    const cycle = await free.pipeline.triggerTrainingCycle({ domain: free.domain, wait: true });
    expect((await learntOf(cycle.id, new Set())).all).toBeGreaterThan(10);
    const { pipeline, domain } = rooms();
    const rooms30 = Array.from({ length: 30 }, (_, index) => ({
      prompt: `Which key opens the door of room ${index}?`,
      response: "I am not sure about that.",
      correction: `You need key ${index + 100} for the door of room ${index}.`,
      rating: -1,
      domain,
      subjectId: `user-${index % 6}`,
    }));
    const ids = (await addAll(pipeline, rooms30)).map(({ id }) => id);
    const { id } = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(await learntOf(id, new Set(ids))).toEqual({ of: 30, all: 30 });
  });

  it.runIf(harness.kind === "embedded")("stays with the person after a power loss took the database back", async () => {
    const { pipeline, domain, another } = rooms();
    await addAll(pipeline, rewordings(domain).slice(0, 24));
    await expect(pipeline.triggerTrainingCycle({ domain })).rejects.toMatchObject({ code: "dataset_too_small" });
    const waiting = await pipeline.review.list({ domain, limit: 1000 });
    await pipeline.review.decide(waiting[0]!.id, { decision: "reject" });
    const { name } = pipeline.status();
    for (const table of ["feedback", "samples"] as const) await store.db.deleteFrom(table).where("pipeline", "=", name).execute();
    const recovered = another();
    await recovered.recover();
    expect((await recovered.review.list({ domain, limit: 1000 })).map(({ id }) => id)).toEqual(waiting.slice(1).map(({ id }) => id));
    expect(await recovered.ledger()).toMatchObject({ accepted: 5, waiting: 5, rejected: 1, lost: 0 });
  });
});

it("clusters whatever comes first, and keeps keys apart", async () => {
  const near = [
    [1, 0.1],
    [1, 0],
    [0.9, 0.1],
  ];
  expect(await clusterByMeaning([...near, [0, 1], [0, 0]], ["a", "a", "b", "a", "a"], 0.9)).toEqual([0, 0, 1, 2, 3]);
});
