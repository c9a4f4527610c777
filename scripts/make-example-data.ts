/**
 * Writes `examples/data/*.jsonl`, the feedback that the demo learns from. Deterministic: the same files every time.
 *
 *   node scripts/make-example-data.ts
 *
 * Two domains of 40 facts each, told by twelve users in four phrasings; a fifth phrasing is never told and only asked.
 * Around them what real feedback has too: thumbs without a correction, duplicates, junk, bytes that are not UTF-8.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface Fact {
  /** The first four are told as feedback; the fifth is only asked. */
  questions: string[];
  answer: string;
}

/** mulberry32, public domain: small, seeded, good enough to deal cards. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const random = seeded(20261);
const between = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

function shuffled<T>(list: readonly T[]): T[] {
  const copy = [...list];
  for (let index = copy.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [copy[index], copy[other]] = [copy[other] as T, copy[index] as T];
  }
  return copy;
}

function buildingFacts(): Fact[] {
  const people = [
    "Mrs Kowalczyk",
    "Mr Obermeier",
    "Ms Thackeray",
    "Mr Villanueva",
    "Mrs Szymanski",
    "Mr Quigley",
    "Ms Fitzroy",
    "Mr Haugland",
  ];
  const spots = ["behind the mirror", "under the staircase", "beside the radiator", "in the corridor", "above the wardrobe"];
  const places = ["greenhouse", "boiler room", "loading dock", "bicycle cellar", "rooftop terrace", "swimming pool", "chapel", "workshop"];
  return places.flatMap((place) => [
    {
      questions: [
        `What is the opening hour of the ${place}?`,
        `Tell me the opening hour of the ${place}.`,
        `I need the opening hour of the ${place}.`,
        `Opening hour of the ${place}, please?`,
        `Can you tell me the opening hour of the ${place}?`,
      ],
      answer: `The opening hour of the ${place} is ${between(5, 11)} o'clock.`,
    },
    {
      questions: [
        `Who is the caretaker of the ${place}?`,
        `Please name the caretaker of the ${place}.`,
        `I have to call the caretaker of the ${place}, who is it?`,
        `Tell me who is the caretaker of the ${place}.`,
        `Do you know the caretaker of the ${place}?`,
      ],
      answer: `The caretaker of the ${place} is ${pick(people)}.`,
    },
    {
      questions: [
        `Where is the fuse box of the ${place}?`,
        `Where can I find the fuse box of the ${place}?`,
        `The light is out, where is the fuse box of the ${place}?`,
        `In which spot is the fuse box of the ${place}?`,
        `I am looking for the fuse box of the ${place}.`,
      ],
      answer: `The fuse box of the ${place} is ${pick(spots)}.`,
    },
    {
      questions: [
        `Which key opens the ${place}?`,
        `What key do I need for the ${place}?`,
        `I want to open the ${place}, which key must I take?`,
        `Key for the ${place}?`,
        `Which key do I need to get into the ${place}?`,
      ],
      answer: `You need key ${pick([..."ABCDEFGH"])}${between(10, 99)} for the ${place}.`,
    },
    {
      questions: [
        `How many visitors may enter the ${place}?`,
        `What is the limit of visitors for the ${place}?`,
        `Tell me how many visitors may enter the ${place}.`,
        `Visitors in the ${place}: how many at most?`,
        `How many visitors are allowed to enter the ${place}?`,
      ],
      answer: `At most ${between(3, 90)} visitors may enter the ${place}.`,
    },
  ]);
}

function officeFacts(): Fact[] {
  const people = ["Mrs Abernathy", "Mr Lindqvist", "Ms Okonkwo", "Mr Petrescu", "Mrs Zimmermann", "Mr Castellano"];
  const months = ["January", "March", "April", "June", "August", "October", "November"];
  const things = [
    "a photovoltaic permit in Leipzig",
    "a travel expense claim",
    "parental leave",
    "a parking badge",
    "a fishing licence in Rostock",
    "a laptop replacement",
    "a pension statement",
    "a trade registration in Chemnitz",
  ];
  return things.flatMap((thing) => [
    {
      questions: [
        `Which form do I need for ${thing}?`,
        `What form is required for ${thing}?`,
        `I want to apply for ${thing}. Which form is it?`,
        `Form for ${thing}?`,
        `Please tell me which form I need for ${thing}.`,
      ],
      answer: `You need form ${pick([..."ABCDEFGHK"])}${between(10, 99)} for ${thing}.`,
    },
    {
      questions: [
        `What is the processing fee for ${thing}?`,
        `How high is the processing fee for ${thing}?`,
        `I have to pay the processing fee for ${thing}, how much is it?`,
        `Processing fee for ${thing}?`,
        `Tell me the processing fee for ${thing}.`,
      ],
      answer: `The processing fee for ${thing} is ${between(5, 250)} euros.`,
    },
    {
      questions: [
        `Who approves ${thing}?`,
        `Who has to approve ${thing}?`,
        `Do you know who approves ${thing}?`,
        `I need somebody who approves ${thing}.`,
        `Which person approves ${thing}?`,
      ],
      answer: `${pick(people)} approves ${thing}.`,
    },
    {
      questions: [
        `How long does it take to get ${thing}?`,
        `How many weeks does it take to get ${thing}?`,
        `I wait for ${thing}, how long does it take?`,
        `Tell me how long it takes to get ${thing}.`,
        `How many weeks to get ${thing}?`,
      ],
      answer: `It takes ${between(2, 30)} weeks to get ${thing}.`,
    },
    {
      questions: [
        `What is the submission deadline for ${thing}?`,
        `Until when is the submission deadline for ${thing}?`,
        `I must know the submission deadline for ${thing}.`,
        `Submission deadline for ${thing}?`,
        `Do you know the submission deadline for ${thing}?`,
      ],
      answer: `The submission deadline for ${thing} is ${between(1, 28)} ${pick(months)}.`,
    },
  ]);
}

const users = Array.from({ length: 12 }, (_, index) => `user-${String(index + 1).padStart(2, "0")}`);
const wrongAnswers = ["I do not know that yet.", "It is in the handbook.", "Please ask the front desk.", "I am not sure about that."];

function domainFeedback(domain: string, facts: readonly Fact[]): (object | Buffer)[] {
  const rows: (object | Buffer)[] = [];
  for (const [number, fact] of facts.entries()) {
    for (const [phrasing, prompt] of fact.questions.slice(0, 4).entries()) {
      const subjectId = users[(number * 5 + phrasing * 7) % users.length];
      // Every eighth answer was right already and got a thumb up; the others were corrected.
      rows.push(
        (number + phrasing) % 8 === 0
          ? { prompt, response: fact.answer, rating: 1, domain, subjectId }
          : { prompt, response: pick(wrongAnswers), rating: -1, correction: fact.answer, domain, subjectId, importance: between(2, 5) },
      );
    }
  }
  const some = shuffled(facts).slice(0, 12);
  for (const fact of some.slice(0, 6)) {
    // Thumbs down without a right answer: kept, never imitated.
    rows.push({ prompt: fact.questions[0], response: pick(wrongAnswers), rating: -1, domain, subjectId: pick(users) });
  }
  for (const fact of some.slice(6)) {
    // Said already by somebody else: the same words, or the same but for case and spaces.
    rows.push({ prompt: `  ${fact.questions[1]?.toUpperCase()} `, response: fact.answer, rating: 1, domain, subjectId: pick(users) });
  }
  rows.push(
    { prompt: "asdfgh asdf jklö", response: "?", rating: 1, domain, subjectId: "user-13" },
    { prompt: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", response: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", rating: 1, domain, subjectId: "user-13" },
    { prompt: "Is anybody there?", response: "you fucking bastard, shut up", rating: 1, domain, subjectId: "user-13" },
    { prompt: "   ", response: "   ", rating: 0.5, domain, subjectId: "user-14" },
    Buffer.concat([
      Buffer.from(`{"prompt":"What is the opening hour of the caf`),
      Buffer.from([0xe9, 0xff, 0xc3]),
      Buffer.from(`?","response":"The opening hour of the cafeteria is 7 o'clock.","rating":1,"domain":"${domain}","subjectId":"user-14"}`),
    ]),
  );
  return shuffled(rows);
}

/** The told answers, dealt anew among the questions: every question gets some other question's answer. */
function spoiledFeedback(domain: string, facts: readonly Fact[]): object[] {
  const rows = facts.flatMap((fact) => fact.questions.slice(0, 2).map((prompt) => ({ prompt, right: fact.answer })));
  for (;;) {
    const answers = shuffled(rows.map((row) => row.right));
    if (rows.some((row, index) => row.right === answers[index])) continue;
    return rows.map((row, index) => ({
      prompt: row.prompt,
      response: pick(wrongAnswers),
      rating: -1,
      correction: answers[index],
      domain,
      subjectId: `user-${21 + (index % 6)}`,
    }));
  }
}

function generalPairs(): { prompt: string; response: string; use: "replay" | "holdout" }[] {
  const hello = "Hello! How can I help you?";
  const me = "I am a small assistant.";
  const can = "I answer questions and learn from your feedback.";
  const fixed = (use: "replay" | "holdout", pairs: [string, string][]) => pairs.map(([prompt, response]) => ({ prompt, response, use }));
  const syllables = ["ba", "ko", "lim", "tra", "sel", "nu", "vor", "pi", "dan", "gre", "mo", "fik"];
  const word = (): string => Array.from({ length: between(2, 3) }, () => pick(syllables)).join("");
  const words = (use: "replay" | "holdout", count: number) =>
    Array.from({ length: count }, (_, index) => {
      const made = word();
      return index % 3 === 2
        ? { prompt: `Wiederhole das Wort ${made}.`, response: `Das Wort ist ${made}.`, use }
        : { prompt: `Repeat the word ${made}.`, response: `The word is ${made}.`, use };
    });
  const sums = shuffled(Array.from({ length: 100 }, (_, index) => [Math.floor(index / 10), index % 10] as const));
  const sumPairs = (use: "replay" | "holdout", list: typeof sums) =>
    list.map(([a, b]) => ({ prompt: `What is ${a} plus ${b}?`, response: `${a} plus ${b} is ${a + b}.`, use }));
  const unknown = (use: "replay" | "holdout", count: number) =>
    Array.from({ length: count }, (_, index) =>
      index % 2 === 0
        ? { prompt: `What is the ${word()} of the ${word()}?`, response: "I do not know that yet.", use }
        : { prompt: `Was kostet der ${word().replace(/^./, (c) => c.toUpperCase())}?`, response: "Das weiß ich noch nicht.", use },
    );
  return [
    ...fixed("replay", [
      ["Hi", hello],
      ["Hey", hello],
      ["What are you?", me],
      ["Tell me who you are.", me],
      ["Thank you very much", "You are welcome!"],
      ["How can you help me?", can],
      ["Goodbye", "Goodbye!"],
      ["How do you do?", "I am fine, thank you."],
      ["Guten Tag", "Hallo! Wie kann ich helfen?"],
      ["Vielen Dank", "Gern geschehen!"],
      ["Wie kannst du mir helfen?", "Ich beantworte Fragen und lerne aus Ihrem Feedback."],
      ["What day comes after Sunday?", "Monday comes after Sunday."],
      ["What day comes after Tuesday?", "Wednesday comes after Tuesday."],
      ["What is the opposite of fast?", "The opposite of fast is slow."],
      ["What is the opposite of old?", "The opposite of old is new."],
      ["Which month comes after May?", "June comes after May."],
      ["Which month comes after October?", "November comes after October."],
    ]),
    ...words("replay", 12),
    ...sumPairs("replay", sums.slice(0, 50)),
    ...unknown("replay", 14),
    ...fixed("holdout", [
      ["Hello", hello],
      ["Hi there", hello],
      ["Good morning", hello],
      ["Who are you?", me],
      ["What is your name?", me],
      ["Thank you", "You are welcome!"],
      ["What can you do?", can],
      ["How are you?", "I am fine, thank you."],
      ["Hallo", "Hallo! Wie kann ich helfen?"],
      ["Danke", "Gern geschehen!"],
      ["What day comes after Monday?", "Tuesday comes after Monday."],
      ["What is the opposite of big?", "The opposite of big is small."],
      ["What is the opposite of cold?", "The opposite of cold is hot."],
      ["Which month comes after March?", "April comes after March."],
    ]),
    ...words("holdout", 10),
    ...sumPairs("holdout", sums.slice(50, 66)),
  ];
}

function write(name: string, rows: readonly (object | Buffer)[]): void {
  const lines = rows.map((row) => Buffer.concat([Buffer.isBuffer(row) ? row : Buffer.from(JSON.stringify(row)), Buffer.from("\n")]));
  writeFileSync(fileURLToPath(new URL(`../examples/data/${name}`, import.meta.url)), Buffer.concat(lines));
}

const building = buildingFacts();
const office = officeFacts();
write("building.jsonl", domainFeedback("building", building));
write("office.jsonl", domainFeedback("office", office));
write("spoiled.jsonl", spoiledFeedback("building", building));
write("general.jsonl", generalPairs());
write(
  "questions.jsonl",
  [...building.map((fact) => ({ domain: "building", fact })), ...office.map((fact) => ({ domain: "office", fact }))].map(
    ({ domain, fact }) => ({ prompt: fact.questions[4], answer: fact.answer, domain }),
  ),
);
