import { afterAll, beforeAll, expect, it } from "vitest";
import { answerOf, compareAnswers } from "../../src/pipeline/firewall/answers.js";
import { reputationOf } from "../../src/pipeline/firewall/reputation.js";
import type { FirewallOptions, PipelineOptions } from "../../src/pipeline/index.js";
import { QuestionIndex } from "../../src/pipeline/question-index.js";
import type { Store } from "../../src/store/index.js";
import { seededRandom } from "../../src/support/seeded-random.js";
import type { FeedbackInput } from "../../src/types/index.js";
import { describeEachStore } from "../setup/index.js";
import { facts } from "./support/facts.js";
import { buildRooms, waitingIds } from "./support/rooms.js";

const DAY_MS = 24 * 3_600_000;
const UNKNOWN = "I am not sure about that.";
const FACTS = facts(30);
/** Options under which all that waits becomes a batch. */
const EASY: PipelineOptions = { triggers: { minSamples: 1, minDistinctSubjects: 1, maxSubjectShare: 1 } };

let domains = 0;

describeEachStore("people who contradict each other (A30)", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  const LOOKED_AT = "the batch was looked at";
  const rooms = (firewall: Partial<FirewallOptions> = {}, more: PipelineOptions = {}) => {
    const domain = `disputes-${domains++}`;
    let stopsBefore = "collect.started";
    const failpoint = (name: string) => {
      if (name === stopsBefore) throw new Error(LOOKED_AT);
    };
    const { pipeline } = buildRooms(store, { firewall, failpoint, ...more });
    const rates = (subjectId: string, fact: number, response: string, rating: number, more: Partial<FeedbackInput> = {}) =>
      pipeline.addFeedback({ prompt: FACTS[fact]!.prompts[0]!, response, rating, domain, subjectId, ...more });
    const says = (subjectId: string, fact: number, correction: string, more: Partial<FeedbackInput> = {}) =>
      rates(subjectId, fact, UNKNOWN, -1, { correction, ...more });
    /** What may be in a batch that is chosen now, by id. */
    const batch = async (of = domain) => {
      await expect(pipeline.triggerTrainingCycle({ domain: of })).rejects.toThrow(LOOKED_AT);
      return new Set(await waitingIds(store, of));
    };
    /** Lets a cycle run; gives what it learnt from. */
    const learn = async () => {
      stopsBefore = "";
      const { id } = await pipeline.triggerTrainingCycle({ domain, wait: true });
      stopsBefore = "collect.started";
      const rows = await store.db
        .selectFrom("cycle_samples")
        .select("sample_id")
        .where("cycle_id", "=", id)
        .where("role", "=", "learn")
        .execute();
      return new Set(rows.map((row) => row.sample_id));
    };
    const disputed = () => pipeline.review.list({ domain, code: "disputed", limit: 1000 });
    return { pipeline, domain, says, rates, batch, learn, disputed };
  };
  const goldOf = (fact: number) => ({ prompt: FACTS[fact]!.prompts[0]!, answers: [right(fact).split(" is ")[1]!.slice(0, -1)] });
  const right = (fact: number) => FACTS[fact]!.answer;
  /** Wrong, and worded like the right one. */
  const wrong = (fact: number) =>
    FACTS[(fact + 1) % 30]!.answer.replace(/the caretaker of the [a-z ]+ is/i, `${right(fact).split(" is ")[0]} is`);

  it("keep what a fifth of them flip out of the training set: from more than a third of it to less than a twentieth", async () => {
    const measure = async (disputes: FirewallOptions["disputes"]) => {
      const { pipeline, domain, batch, disputed } = rooms({ disputes });
      const random = seededRandom(30);
      const flipped = new Set<string>();
      const given: FeedbackInput[] = [];
      const isFlipper = (person: number) => person % 5 === 0;
      for (let person = 0; person < 20; person++) {
        for (let nth = 0; nth < 8; nth++) {
          const fact = Math.floor(random() * 30);
          const [good, bad] = isFlipper(person) ? [wrong(fact), right(fact)] : [right(fact), wrong(fact)];
          const prompt = FACTS[fact]!.prompts[0]!;
          const common = { prompt, domain, subjectId: `person-${person}` };
          const kind = random();
          if (kind < 0.6) given.push({ ...common, response: UNKNOWN, rating: -1, correction: good });
          else if (kind < 0.8) given.push({ ...common, response: good, rating: 1 });
          else given.push({ ...common, response: bad, rating: -1 });
        }
      }
      // each of them at its own time, as people come
      for (const input of given) {
        const { id, status } = await pipeline.addFeedback(input);
        if (status === "accepted" && isFlipper(Number(input.subjectId!.slice(7)))) flipped.add(id);
      }
      const learnt = await batch();
      const bad = [...learnt].filter((id) => flipped.has(id)).length;
      return { all: learnt.size, share: bad / learnt.size, held: (await disputed()).length };
    };
    const without = await measure("accept");
    const screened = await measure("review");
    expect(without).toMatchObject({ held: 0 });
    expect(without.share).toBeGreaterThan(1 / 3);
    expect(screened.share).toBeLessThan(0.05);
    // honest answers are held as well where a flipper alone stands against one person; most are not
    expect(screened.all * (1 - screened.share)).toBeGreaterThanOrEqual(0.9 * without.all * (1 - without.share));
  });

  it("two at odds go to a person, both; what nobody contradicts is learnt", async () => {
    const { says, rates, learn, disputed, pipeline, domain } = rooms({}, EASY);
    const held: string[][] = [];
    pipeline.on("feedback.held", ({ ids, finding, domain: of }) => {
      expect({ of, code: finding.code, action: finding.action }).toEqual({ of: domain, code: "disputed", action: "review" });
      held.push(ids);
    });
    const [a, b] = [await says("anna", 0, right(0)), await says("bert", 0, wrong(0))];
    // a lone correction, and two people who say the same in other words
    const lone = await says("anna", 1, right(1));
    const worded = [await says("anna", 2, right(2)), await says("bert", 2, `That is ${right(2).split(" is ")[1]}`)];
    // two may like different answers
    const liked = [await rates("anna", 3, right(3), 1), await rates("bert", 3, "Ask at the gate, they know all the caretakers.", 1)];
    expect(await learn()).toEqual(new Set([lone, ...worded, ...liked].map(({ id }) => id)));
    expect(held.flat().sort()).toEqual([a.id, b.id].sort());
    const [first] = await disputed();
    expect(first!.reason).toBe(
      "people are at odds about it: 1 say otherwise and 1 the same; weighed by how often each was right, 50 % speak for it",
    );
    expect(await pipeline.ledger()).toMatchObject({ received: 7, lost: 0, review: 2 });
  });

  it("a thumb down on what others say is right, and a thumb up on what they say is wrong, lose", async () => {
    const { rates, says, batch, disputed } = rooms();
    const honest = [await says("anna", 0, right(0)), await rates("bert", 0, right(0), 1), await rates("cara", 0, right(0), 1)];
    const down = await rates("mallory", 0, right(0), -1);
    const up = await rates("mallory", 1, wrong(1), 1);
    for (const person of ["anna", "bert", "cara"]) await rates(person, 1, wrong(1), -1);
    expect(await batch()).toEqual(new Set(honest.filter(({ status }) => status === "accepted").map(({ id }) => id)));
    expect((await disputed()).map(({ id }) => id).sort()).toEqual([down.id, up.id].sort());
  });

  it("one person's many votes count once", async () => {
    const { says, rates, batch } = rooms();
    const many = [await says("mallory", 0, wrong(0)), await rates("mallory", 0, right(0), -1)];
    for (let nth = 0; nth < 5; nth++) await rates("mallory", 0, wrong(0), 1, { idempotencyKey: `again-${nth}` });
    const honest = await says("anna", 0, right(0));
    for (const person of ["bert", "cara"]) await rates(person, 0, right(0), 1);
    expect(many.map(({ status }) => status)).toEqual(["accepted", "accepted"]);
    expect(await batch()).toEqual(new Set([honest.id]));
  });

  it("a crowd of accounts of which nothing is known counts like a few", async () => {
    const known = ["anna", "bert", "cara"];
    const gold = known.flatMap((_, person) => [0, 1, 2, 3].map((nth) => goldOf(person * 4 + nth)));
    const vote = async (maxAlike: number) => {
      const { says, rates, batch } = rooms({ gold, maxAlike });
      for (const [index, person] of known.entries())
        for (let nth = 0; nth < 4; nth++) await says(person, index * 4 + nth, right(index * 4 + nth));
      const truth = await says("anna", 20, right(20));
      for (const person of ["bert", "cara"]) await rates(person, 20, right(20), 1);
      const lie = await says("sybil-0", 20, wrong(20));
      for (let sybil = 1; sybil < 12; sybil++) await rates(`sybil-${sybil}`, 20, wrong(20), 1);
      const waiting = await batch();
      return [truth, lie].map(({ id }) => waiting.has(id));
    };
    expect(await vote(12)).toEqual([false, true]);
    expect(await vote(2)).toEqual([true, false]);
  });

  it("who contradicted trusted answers loses against a newcomer, and a newcomer with one who is known is neither", async () => {
    const gold = [0, 1, 2, 3, 4, 5].map((fact) => ({
      prompt: FACTS[fact]!.prompts[0]!,
      answers: [right(fact).split(" is ")[1]!.slice(0, -1)],
    }));
    const { says, batch, disputed } = rooms({ gold });
    for (let fact = 0; fact < 6; fact++) expect(await says("mallory", fact, wrong(fact))).toMatchObject({ code: "contradicts_gold" });
    for (let fact = 0; fact < 6; fact++) expect(await says("karl", fact, right(fact))).toMatchObject({ status: "accepted" });
    const lie = await says("mallory", 10, wrong(10));
    const truth = await says("newcomer", 10, right(10));
    const [known, unknown] = [await says("karl", 12, right(12)), await says("stranger", 12, wrong(12))];
    const [against, beside] = [await says("mallory", 14, wrong(14)), await says("karl", 14, right(14))];
    const waiting = await batch();
    expect([lie, truth, known, unknown, against, beside].map(({ id }) => waiting.has(id))).toEqual([
      false,
      true,
      false,
      false,
      false,
      true,
    ]);
    const reasons = new Map((await disputed()).map(({ id, reason }) => [id, reason]));
    expect(reasons.get(lie.id)).toMatch(/^people contradict it: 1 say otherwise and 1 the same; .* 19 % speak for it$/);
    expect(reasons.get(known.id)).toMatch(/^people are at odds about it: .* 64 % speak for it$/);
  });

  it("a reviewer's decisions move a reputation, in the tenant where they were made and nowhere else", async () => {
    const { pipeline, domain, says, batch } = rooms();
    const ofTenant = (tenant: string) => ({ metadata: { tenant } });
    const atOdds = async (tenant: string, fact: number, honest: string) => {
      const given = [await says("mallory", fact, wrong(fact), ofTenant(tenant)), await says(honest, fact, right(fact), ofTenant(tenant))];
      const waiting = await batch(`${tenant}--${domain}`);
      return given.map(({ id }) => waiting.has(id));
    };
    for (const fact of [0, 1, 2]) expect(await atOdds("ulm", fact, "anna")).toEqual([false, false]);
    for (const { id, subjectId } of await pipeline.review.list({ domain: `ulm--${domain}` })) {
      await pipeline.review.decide(id, { decision: subjectId === "anna" ? "approve" : "reject" });
    }
    expect(await atOdds("ulm", 10, "bert")).toEqual([false, true]);
    expect(await atOdds("bonn", 10, "bert")).toEqual([false, false]);
    expect(await pipeline.review.list({ domain: `bonn--${domain}`, code: "disputed" })).toHaveLength(2);
    // the person is erased, and with them what was known of them
    await pipeline.eraseSubject("mallory", { tenant: "ulm" });
    expect(await atOdds("ulm", 12, "cara")).toEqual([false, false]);
  });

  it("a fact that changed is held at first, says so, and wins once enough people say it", async () => {
    let now = Date.parse("2026-01-01T00:00:00Z");
    // of eight newcomers each counts
    const { says, rates, batch, disputed } = rooms({ maxAlike: 8 }, { clock: () => now });
    const old = await says("anna", 0, right(0));
    for (const person of ["bert", "cara"]) await rates(person, 0, right(0), 1);
    now += 5 * DAY_MS;
    const first = await says("dora", 0, wrong(0));
    expect(await batch()).toEqual(new Set([old.id]));
    const [held] = await disputed();
    expect(held).toMatchObject({ id: first.id, reason: expect.stringMatching(/^people contradict it: .* so the fact may have changed$/) });
    for (let person = 0; person < 6; person++) await rates(`later-${person}`, 0, wrong(0), 1);
    const second = await says("emil", 0, `${wrong(0)} Since the new year.`);
    // what was said first is now what people contradict; what was held stays with the person
    expect([...(await batch())]).toContain(second.id);
    expect((await disputed()).map(({ id }) => id)).toEqual([old.id, first.id]);
  });

  it("what was said longer ago than disputes look back contradicts nobody", async () => {
    let now = Date.parse("2026-01-01T00:00:00Z");
    const { rates, batch } = rooms({}, { clock: () => now });
    for (const person of ["anna", "bert", "cara"]) {
      for (const fact of [0, 1]) await rates(person, fact, wrong(fact), -1);
    }
    now += 29 * DAY_MS;
    const early = await rates("dora", 0, wrong(0), 1);
    expect(await batch()).toEqual(new Set());
    now += 2 * DAY_MS;
    const late = await rates("dora", 1, wrong(1), 1);
    expect([early.status, late.status]).toEqual(["accepted", "accepted"]);
    expect(await batch()).toEqual(new Set([late.id]));
  });
});

it("a newcomer's word counts one half, and moves with what is known (Beta reputation system)", () => {
  expect(reputationOf({ right: 0, wrong: 0 })).toBe(0.5);
  expect(reputationOf({ right: 8, wrong: 0 })).toBe(0.9);
  expect(reputationOf({ right: 0, wrong: 8 })).toBe(0.1);
});

it.each([
  ["What does a dog licence cost?", "12 euros", "A dog licence costs 12 euros, at the desk in room 3.", "same"],
  ["What does a dog licence cost?", "12 euros", "15 euros", "other"],
  ["What does a dog licence cost?", "Twelve euros.", "A dog licence costs fifty euros.", "other"],
  ["What does a dog licence cost?", "It is free.", "It is not free.", "other"],
  ["Was kostet ein Hund?", "Fünf Euro im Jahr.", "Der Hund kostet im Jahr sechs Euro.", "other"],
  ["Who is the caretaker of the chapel?", "The caretaker of the chapel is Mr Silva.", "The caretaker of the chapel is Mrs Novak.", "other"],
  ["Who is the caretaker of the chapel?", "Mr Silva", "You should ask Mr Silva at the gate.", "same"],
  [
    "How do I get a permit?",
    "Fill in the form on our website and wait for the letter.",
    "You can apply online; an officer writes to you within some weeks.",
    "unknown",
  ],
] as const)("%s %j and %j: %s", (prompt, left, right, relation) => {
  const answers = [answerOf(prompt, left), answerOf(prompt, right)] as const;
  expect(compareAnswers(answers[0], answers[1], () => false)).toBe(relation);
  expect(compareAnswers(answers[1], answers[0], () => false)).toBe(relation);
});

it("finds all nearly equal questions that comparing each with each would find", () => {
  const words = "fence permit dog licence town hall office cost open key chapel garden tax 12 2026 friday".split(" ");
  const random = seededRandom(7);
  const prompts = Array.from({ length: 400 }, () =>
    Array.from({ length: 1 + Math.floor(random() * 6) }, () => words[Math.floor(random() * words.length)]).join(" "),
  );
  const index = new QuestionIndex(prompts.map((prompt) => ({ prompt })));
  for (const prompt of prompts.slice(0, 100)) {
    const found = index.find(prompt);
    // one that shares every word is always found, and what finds is found
    expect(found.some(({ item }) => item.prompt === prompt)).toBe(true);
    for (const { item } of found) expect(index.find(item.prompt).some((other) => other.item.prompt === prompt)).toBe(true);
  }
});
