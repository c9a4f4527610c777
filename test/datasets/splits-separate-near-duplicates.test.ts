import fc from "fast-check";
import { expect, it } from "vitest";
import { prepareCandidates, toCandidates } from "../../src/datasets/preparation.js";
import { haveSameProtectedTokens, protectedTokensOf } from "../../src/datasets/protected-tokens.js";
import { QualityChecker } from "../../src/datasets/quality-checker.js";
import type { SampleInput } from "../../src/datasets/sample-input.js";
import { jaccard, shinglesOf } from "../../src/datasets/shingles.js";
import { differInSlips } from "../../src/datasets/slips-of-the-pen.js";
import { normaliseText } from "../../src/datasets/text-normalisation.js";
import type { DatasetItem } from "../../src/types/index.js";

const quality = new QualityChecker({ minScore: 0 });
const subjects = [
  "die Baugenehmigung",
  "der Widerspruch",
  "das Bürgerbüro",
  "die Hundesteuer",
  "der Bebauungsplan",
  "die Gewerbeanmeldung",
];
const requests = [
  "welche Unterlagen dafür bei der Gemeinde einzureichen sind",
  "wie lange die Bearbeitung in der Behörde gewöhnlich dauert",
];

/** Long questions, so that one changed letter leaves .95 of the shingles; each comes in several spellings. */
const question = fc
  .record({ subject: fc.nat({ max: subjects.length - 1 }), request: fc.nat({ max: requests.length - 1 }), spelling: fc.nat({ max: 5 }) })
  .map(({ subject, request, spelling }) => {
    const polite = "Guten Tag, ich möchte gern in aller Kürze und doch so genau wie möglich von Ihnen wissen";
    const text = `${polite}, ${requests[request]}, wenn es um ${subjects[subject]} geht, und bedanke mich im Voraus herzlich für Ihre Auskunft dazu`;
    return [
      text,
      `${text}?`,
      text.toUpperCase(),
      text.replace("herzlich", "herzlih"),
      `  ${text.replace(", ", " , ")}`,
      text.replace("gern", "gerne"),
    ][spelling]!;
  });
const sample: fc.Arbitrary<SampleInput> = fc.record({
  id: fc.uuid(),
  prompt: question,
  response: fc.nat({ max: 14 }).map((room) => `Die Auskunft dazu gibt es im Raum ${room} des Rathauses.`),
  objective: fc.constantFrom("imitate" as const, "imitate" as const, "imitate" as const, "preference" as const),
});

const known = new Map<string, boolean>();

/** Counted in full, without the index that preparation uses. */
function areNear(left: string, right: string): boolean {
  const key = JSON.stringify([left, right]);
  const near = known.get(key) ?? countedNear(left, right);
  known.set(key, near);
  return near;
}

function countedNear(left: string, right: string): boolean {
  const [a, b] = [normaliseText(left), normaliseText(right)];
  if (a === b) return true;
  return jaccard(shinglesOf(a), shinglesOf(b)) >= 0.95 && haveSameProtectedTokens(protectedTokensOf(left), protectedTokensOf(right));
}

function sideOf({ split }: DatasetItem): string {
  return split === "preference" ? "train" : split;
}

it("exact and near duplicates of a question stand on one side, whatever is asked for", async () => {
  let separated = 0;
  let heldOut = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(sample, { minLength: 20, maxLength: 60 }),
      fc.boolean(),
      fc.record({ seed: fc.string(), recall: fc.constantFrom(true, 0.5, 1), generalisation: fc.constantFrom(true, 0.2, 0.5) }),
      async (samples, removeDuplicates, holdout) => {
        const { items } = await prepareCandidates(toCandidates(samples), { removeDuplicates, holdout, maxLength: 4096 }, { quality });
        for (const item of items) {
          if (sideOf(item) === "train") continue;
          heldOut += 1;
          for (const other of items) {
            if (sideOf(other) === sideOf(item)) continue;
            separated += 1;
            expect(areNear(item.sample.prompt, other.sample.prompt)).toBe(false);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
  // The property says nothing where nothing is held out.
  expect({ isHeldOut: heldOut > 20, isCompared: separated > 200 }).toEqual({ isHeldOut: true, isCompared: true });
});

it("the spellings of the property are near duplicates, and its subjects are not", () => {
  const text = fc.sample(question, 200);
  const near = text.flatMap((left) => text.map((right) => (left !== right && areNear(left, right) ? 1 : 0) as number));
  const share = near.reduce((sum, one) => sum + one, 0) / near.length;
  expect(share).toBeGreaterThan(0.03);
  expect(share).toBeLessThan(0.5);
});

it("a short question with a slip of the pen stands on the side of the right one", async () => {
  const places = [
    "chapel",
    "library",
    "greenhouse",
    "observatory",
    "boathouse",
    "brewery",
    "aquarium",
    "lighthouse",
    "planetarium",
    "windmill",
  ];
  const asked = (place: string) => [
    `Where is the key of the ${place}?`,
    `Who has the key of the ${place}?`,
    `I need to get into the ${place}, please.`,
  ];
  const slips = (text: string) => [text, text.replace("key", "keys"), ...["e", "a", "i"].map((letter) => swapped(text, letter))];
  const samples = places.flatMap((place, index) =>
    asked(place)
      .flatMap(slips)
      .map((prompt, spelling) => ({ id: `${place}-${spelling}`, prompt, response: `It is key A${index + 10}, in the drawer.` })),
  );
  const { items } = await prepareCandidates(
    toCandidates(samples),
    { removeDuplicates: true, holdout: { recall: 0.5 }, maxLength: 4096 },
    { quality },
  );
  const heldOut = items.filter((item) => sideOf(item) !== "train").map(({ sample: { prompt } }) => normaliseText(prompt));
  const trained = items.filter((item) => sideOf(item) === "train").map(({ sample: { prompt } }) => normaliseText(prompt));
  expect(heldOut.length).toBeGreaterThan(10);
  const pairs = heldOut.flatMap((left) => trained.map((right) => [left, right] as const));
  expect(pairs.filter(([left, right]) => differInSlips(left, right))).toEqual([]);
});

it("slips are wrong letters in long words: not other short words, numbers or names of other places", () => {
  for (const [left, right, isSlip] of [
    ["where is the libary", "where is the library", true],
    ["where is the planatarum", "where is the planetarium", true],
    ["where is the boat", "where is the goat", false],
    ["is room 412 free now", "is room 413 free now", false],
    ["where is the chapel", "where is the cellar", false],
    ["where is the library", "where is the old library", false],
    ["wich libary", "which library", false],
  ] as const)
    expect(differInSlips(left, right), left).toBe(isSlip);
});

/** The last word in which the letter can be swapped with the next one. */
function swapped(text: string, letter: string): string {
  return text.replace(new RegExp(`(\\w{3,})(${letter})(\\w)(?!.*\\w{3,}${letter}\\w)`), "$1$3$2");
}
