import { afterAll, beforeAll, expect, it } from "vitest";
import { population, type Rewording } from "../../scripts/flipped-feedback.js";
import { AlikeQuestions } from "../../src/pipeline/firewall/alike-questions.js";
import { answerOf, compareAnswers } from "../../src/pipeline/firewall/answers.js";
import { plainWordsOf } from "../../src/pipeline/firewall/plain-words.js";
import { overlapOf, questionOf } from "../../src/pipeline/firewall/questions.js";
import type { Store } from "../../src/store/index.js";
import { seededRandom } from "../../src/support/seeded-random.js";
import type { Embedder } from "../../src/types/index.js";
import { describeEachStore } from "../setup/index.js";
import { NARROWED, PARAPHRASED } from "./support/paraphrases.js";
import { buildRooms, waitingIds } from "./support/rooms.js";

const UNKNOWN = "I am not sure about that.";
const LOOKED_AT = "the batch was looked at";

let domains = 0;

describeEachStore("people who contradict each other in other words (A30)", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  const rooms = (embedder?: Embedder) => {
    const domain = `reworded-${domains++}`;
    const failpoint = (name: string) => {
      if (name === "collect.started") throw new Error(LOOKED_AT);
    };
    const { pipeline } = buildRooms(store, { failpoint, firewall: { maxClusterShare: 1 } }, undefined, embedder);
    const says = async (subjectId: string, prompt: string, correction: string) =>
      (await pipeline.addFeedback({ prompt, response: UNKNOWN, rating: -1, correction, subjectId, domain })).id;
    /** What may be in a batch that is chosen now, by id. */
    const batch = async () => {
      await expect(pipeline.triggerTrainingCycle({ domain })).rejects.toThrow(LOOKED_AT);
      return new Set(await waitingIds(store, domain));
    };
    return { pipeline, domain, says, batch };
  };

  it("see a flipped answer to the same question in other words, and leave what asks something else alone", async () => {
    const { says, batch } = rooms();
    const honest = [
      await says("anna", "When does the library open?", "The library opens at 9 o'clock."),
      await says("bert", "From what time is the library open?", "At nine."),
      await says("cara", "Please tell me when the library opens.", "You can come in from 9:00 on."),
    ];
    const flipped = await says("mallory", "Opening time of the library?", "The library opens at 11 o'clock.");
    const others = [
      await says("dora", "When does the library close?", "The library closes at 6 pm."),
      await says("emil", "When does the archive open?", "The archive opens at 10 o'clock."),
      await says("fred", "Who opens the library?", "Mr Silva opens the library."),
    ];
    const waiting = await batch();
    expect(waiting.has(flipped)).toBe(false);
    expect(waiting).toEqual(new Set([...honest, ...others]));
  });

  it("take no other wording of the right answer for a contradiction, without an embedder", async () => {
    const { says, batch, pipeline, domain } = rooms();
    const ids: string[] = [];
    for (const { questions, right } of PARAPHRASED) {
      for (const [person, answer] of right.entries()) ids.push(await says(`person-${person}`, questions[0], answer));
    }
    await batch();
    expect(await pipeline.review.list({ domain, code: "disputed" })).toEqual([]);
    expect(ids).toHaveLength(3 * PARAPHRASED.length);
  });

  it("see it where most words are others, with an embedder", async () => {
    const asked = new Set<string>();
    // one place for all that is about books, another for the rest
    const embedder: Embedder = {
      name: "topics",
      dimensions: 2,
      embed: async (texts) =>
        texts.map((text) => {
          asked.add(text);
          return /book|loan|lend/i.test(text) ? [1, 0] : [0, 1];
        }),
    };
    const told = async (given?: Embedder) => {
      const { says, batch } = rooms(given);
      const honest = [
        await says("anna", "How long can I keep a borrowed book?", "You can keep a book for 28 days."),
        await says("bert", "How long can I keep a borrowed book, please?", "28 days."),
        await says("cara", "For how long am I allowed to keep a borrowed book?", "Four weeks, that is 28 days."),
      ];
      const flipped = await says("mallory", "Borrowed books: what is the loan period?", "You can keep a book for 14 days.");
      const waiting = await batch();
      return [...honest, flipped].map((id) => waiting.has(id));
    };
    expect(await told()).toEqual([true, true, true, true]);
    expect(await told(embedder)).toEqual([true, true, true, false]);
    expect(asked).toContain("borrowed books: what is the loan period");
  });

  it("keep most of what a fifth of them flip out of the training set, and few honest answers with it", async () => {
    const measure = async (reworded: Rewording, flippers: number) => {
      const { pipeline, domain, batch } = rooms();
      const isWrong = new Map<string, boolean>();
      for (const told of population(PARAPHRASED, flippers, reworded, 30)) {
        const { id, status } = await pipeline.addFeedback({ ...told.input, domain });
        if (status === "accepted" && told.input.rating! + (told.input.correction === undefined ? 0 : 2) > 0) isWrong.set(id, told.isWrong);
      }
      const learnt = await batch();
      const count = (ids: Iterable<string>, wrong: boolean) => [...ids].filter((id) => isWrong.get(id) === wrong).length;
      return {
        before: count(isWrong.keys(), true) / isWrong.size,
        after: count(learnt, true) / learnt.size,
        held: 1 - count(learnt, false) / count(isWrong.keys(), false),
      };
    };
    const questions = await measure({ questions: true, answers: false }, 4);
    expect(questions.before).toBeGreaterThan(0.2);
    expect(questions.after).toBeLessThan(questions.before / 2);
    const answers = await measure({ questions: false, answers: true }, 4);
    expect(answers.after).toBeLessThan(0.05);
    expect((await measure({ questions: false, answers: true }, 0)).held).toBe(0);
  });
});

it("reads quantities in any spelling", () => {
  const same: [string, string][] = [
    ["a hundred and twenty euros", "a 120 euros"],
    ["two thousand five hundred", "2500"],
    ["zweitausendfünfhundert Leute", "2500 leute"],
    ["siebenunddreißig Euro, achtundvierzig Cent", "37 euro 48 cent"],
    ["nine eleven", "9 11"],
    ["1,000 or 1.000", "1000 or 1000"],
    ["120 €", "120 euro"],
    ["By July 31st", "by july 31"],
    ["at 6 pm, six in the evening, 18:00", "at 18 clock 18 in the evening 18 clock"],
    ["um 8 Uhr, um acht, 08:00", "um 8 clock um 8 8 clock"],
    ["at 6:30 p.m.", "at 18 30 clock"],
    ["no more than 5, nicht mehr als 5, not 5", "more than 5 mehr als 5 not 5"],
    ["room B07 and hundred islands", "room b07 and 100 islands"],
  ];
  for (const [text, words] of same) expect(plainWordsOf(text).join(" ")).toBe(words);
});

it("takes no rewording for another fact, and no other fact for a rewording", () => {
  const unseen: string[] = [];
  let compared = 0;
  for (const { questions, right, wrong } of PARAPHRASED) {
    for (const [asked, other] of questions.flatMap((one) => questions.map((two) => [one, two] as const))) {
      for (const text of right) {
        for (const same of right) {
          expect([text, same, compareAnswers(answerOf(asked, text), answerOf(other, same), () => false, asked === other)]).not.toContain(
            "other",
          );
        }
        for (const flipped of wrong) {
          const relation = compareAnswers(answerOf(asked, text), answerOf(other, flipped), () => false, asked === other);
          expect([text, flipped, relation]).not.toContain("same");
          if (asked !== other) continue;
          compared++;
          if (relation !== "other") unseen.push(`${text} | ${flipped}`);
        }
      }
    }
  }
  expect(unseen.length / compared).toBeLessThan(0.1);
});

it.each([
  ["Where is the key?", "Take key B57 from the desk.", "Use key B57, it lies in the desk.", "same"],
  ["What does it cost?", "8 euros per month", "8 euros per year", "other"],
  ["How long does it take?", "28 weeks", "28 days", "other"],
  ["Who helps me?", "Ask Mr. Silva.", "Silva, please call Mr Silva.", "same"],
  ["What about Sundays?", "Open from 9 to 5.", "Closed from 9 to 5.", "other"],
  ["Are dogs allowed?", "No, never.", "Yes, on a lead.", "other"],
] as const)("%s %j and %j: %s", (prompt, left, right, relation) => {
  expect(compareAnswers(answerOf(prompt, left), answerOf(prompt, right), () => false)).toBe(relation);
});

it("takes a question that asks for a part of another one for one of its own", async () => {
  const confused: string[] = [];
  for (const [question, answer, narrower, narrowerAnswer] of NARROWED) {
    const alike = await AlikeQuestions.among([], [question, narrower]);
    const relation = compareAnswers(answerOf(question, answer), answerOf(narrower, narrowerAnswer), () => false, false);
    if (alike.to(question).includes(narrower) && relation === "other") confused.push(narrower);
  }
  // the first says it in other words, the second before what it is about
  expect(confused).toEqual(["Sunday opening time of the library?", "Can I pay a fine by card?"]);
});

it.each([
  ["Who approves a parking badge?", "Mr Quigley", "Until when do I apply for a parking badge?", "12 April"],
  ["Key for the chapel?", "B33", "How many visitors may enter the chapel?", "At most 19 visitors."],
  ["Fee for the badge?", "12 euros", "How long does the badge take?", "3 weeks"],
])("answers of another kind to %j and %j are no contradiction", (one, left, other, right) => {
  expect(compareAnswers(answerOf(one, left), answerOf(other, right), () => false, false)).toBe("unknown");
});

it("finds all alike questions that comparing each with each would find", async () => {
  const words = "fence permit dog licence town hall office cost open close key chapel garden tax 12 2026 friday until".split(" ");
  const random = seededRandom(7);
  const texts = [
    ...new Set(
      Array.from({ length: 150 }, () =>
        Array.from({ length: 1 + Math.floor(random() * 6) }, () => words[Math.floor(random() * words.length)]).join(" "),
      ),
    ),
  ];
  const questions = texts.map(questionOf);
  const alike = await AlikeQuestions.among(texts.slice(0, 50), texts.slice(50));
  let found = 0;
  for (const one of questions) {
    const expected = questions.filter(
      (other) => other !== one && overlapOf(one, other) >= 0.7 && doSayEnough(one.words.size, other.words.size),
    );
    expect([...alike.to(one.text)].sort()).toEqual(expected.map(({ text }) => text).sort());
    found += expected.length;
  }
  expect(found).toBeGreaterThan(100);
});

/** One word is alike to one word only. */
const doSayEnough = (one: number, other: number) => Math.min(one, other) > 1 || one === other;
