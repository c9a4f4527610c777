/**
 * Shows what comparing people with each other is worth where some of them rate the wrong way round (A30): wrong samples that a batch would
 * hold with and without it, and honest ones that wait for a person, for questions and answers in the same words and in others. Through the
 * pipeline as it is; only clusters are not capped, so that disputes are seen alone.
 *
 *   npm run simulate:disputes -- [--runs 10] [--flippers 4] [--seed 1] [--embedder none|lexical|minilm]
 *
 * `--embedder` may be given several times. The intervals are of 95 % (Wilson), as if all samples were drawn by themselves.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openMiniLm } from "../bench/embedders/minilm.js";
import { describeShare } from "../bench/statistics.js";
import { LexicalEmbedder } from "../src/embedders/index.js";
import { AlikeQuestions } from "../src/pipeline/firewall/alike-questions.js";
import { answerOf, compareAnswers } from "../src/pipeline/firewall/answers.js";
import { FIREWALL_DEFAULTS } from "../src/pipeline/firewall/firewall-options.js";
import { normaliseText } from "../src/pipeline/storable-text.js";
import { openStore } from "../src/store/index.js";
import type { Embedder } from "../src/types/index.js";
import { NARROWED } from "../test/pipeline/support/paraphrases.js";
import { buildRooms, waitingIds } from "../test/pipeline/support/rooms.js";
import { exampleFactsOf, type Fact, population, type Rewording, type Told, writtenFacts } from "./flipped-feedback.js";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10" },
    flippers: { type: "string", default: "4" },
    seed: { type: "string", default: "1" },
    embedder: { type: "string", multiple: true, default: ["none", "lexical"] },
  },
});
const seeds = Array.from({ length: Number(values.runs) }, (_, index) => Number(values.seed) + index);
const flippers = Number(values.flippers);

const REWORDINGS: { name: string; reworded: Rewording }[] = [
  { name: "the same words", reworded: { questions: false, answers: false } },
  { name: "questions reworded", reworded: { questions: true, answers: false } },
  { name: "answers reworded", reworded: { questions: false, answers: true } },
  { name: "both reworded", reworded: { questions: true, answers: true } },
];

/** Samples that waited, and those of them that a batch may hold after people were compared. */
interface Counts {
  wrong: number;
  wrongLeft: number;
  right: number;
  rightHeld: number;
}

const folder = await mkdtemp(join(tmpdir(), "clara-disputes-"));
const store = await openStore({ database: { dataDir: join(folder, "store") } });
let domains = 0;

async function run(told: readonly Told[], embedder: Embedder | undefined): Promise<Counts> {
  const failpoint = (name: string) => {
    if (name === "collect.started") throw new Error("the batch was looked at");
  };
  const { pipeline } = buildRooms(store, { failpoint, firewall: { maxClusterShare: 1 } }, folder, embedder);
  const domain = `told-${domains++}`;
  const isWrong = new Map<string, boolean>();
  for (const { input, isWrong: flipped } of told) isWrong.set((await pipeline.addFeedback({ ...input, domain })).id, flipped);
  const waiting = async () => Map.groupBy(await waitingIds(store, domain), (id) => isWrong.get(id)!);
  const before = await waiting();
  await pipeline.triggerTrainingCycle({ domain }).catch((error: Error) => {
    if (error.message !== "the batch was looked at") throw error;
  });
  const after = await waiting();
  const count = (of: typeof before, flipped: boolean) => of.get(flipped)?.length ?? 0;
  return {
    wrong: count(before, true),
    wrongLeft: count(after, true),
    right: count(before, false),
    rightHeld: count(before, false) - count(after, false),
  };
}

/** Pairs of questions to one fact that are found to ask nearly the same, and narrower questions whose answer is taken for a contradiction. */
async function compareWordings(facts: readonly Fact[], embedder: Embedder | undefined): Promise<string> {
  const meanings = embedder && { embedder, minSimilarity: FIREWALL_DEFAULTS.questionSimilarity };
  const texts = facts.flatMap(({ questions }) => questions.map(normaliseText));
  const alike = await AlikeQuestions.among([], texts, meanings);
  const pairs = facts.flatMap(({ questions }) =>
    questions.flatMap((one, at) => questions.slice(at + 1).map((other) => [one, other].map(normaliseText))),
  );
  const found = pairs.filter(([one, other]) => alike.to(one!).includes(other!)).length;
  return `found to ask the same: ${describeShare(found, pairs.length)}`;
}

async function compareNarrower(embedder: Embedder | undefined): Promise<string> {
  const meanings = embedder && { embedder, minSimilarity: FIREWALL_DEFAULTS.questionSimilarity };
  let contradicted = 0;
  for (const [question, answer, narrower, narrowerAnswer] of NARROWED) {
    const alike = await AlikeQuestions.among([], [question, narrower], meanings);
    const relation = compareAnswers(answerOf(question, answer), answerOf(narrower, narrowerAnswer), () => false, false);
    if (alike.to(question).includes(narrower) && relation === "other") contradicted++;
  }
  return `narrower questions whose answer is taken for a contradiction: ${describeShare(contradicted, NARROWED.length)}`;
}

const sets = {
  "facts written by hand": writtenFacts(),
  "examples, building": await exampleFactsOf("building"),
  "examples, office": await exampleFactsOf("office"),
};
const minilm = values.embedder.includes("minilm") ? await openMiniLm() : null;
const embedders: Record<string, Embedder | undefined> = { none: undefined, lexical: new LexicalEmbedder(), minilm: minilm?.embedder };
console.log(`${seeds.length} runs, 20 people, 8 ratings each\n`);
console.log(
  "| facts, embedder | | wrong of what would be learnt | with disputes | right that is held | right that is held, nobody flips |",
);
console.log("|---|---|---|---|---|---|");
for (const [set, facts] of Object.entries(sets)) {
  for (const name of values.embedder) {
    for (const { name: how, reworded } of REWORDINGS) {
      const total = async (wrongPeople: number) => {
        const sum: Counts = { wrong: 0, wrongLeft: 0, right: 0, rightHeld: 0 };
        for (const seed of seeds) {
          const counts = await run(population(facts, wrongPeople, reworded, seed), embedders[name]);
          for (const key of Object.keys(sum) as (keyof Counts)[]) sum[key] += counts[key];
        }
        return sum;
      };
      const [flipped, honest] = [await total(flippers), await total(0)];
      const { wrong, wrongLeft, right, rightHeld } = flipped;
      const cells = [
        `${set}, ${name}`,
        how,
        describeShare(wrong, wrong + right),
        describeShare(wrongLeft, wrongLeft + right - rightHeld),
        describeShare(rightHeld, right),
        describeShare(honest.rightHeld, honest.right),
      ];
      console.log(`| ${cells.join(" | ")} |`);
    }
  }
}
for (const name of values.embedder) {
  for (const [set, facts] of Object.entries(sets)) console.log(`\n${set}, ${name}: ${await compareWordings(facts, embedders[name])}`);
  console.log(`\n${name}: ${await compareNarrower(embedders[name])}`);
}
await minilm?.close();
await store.close();
await rm(folder, { recursive: true });
