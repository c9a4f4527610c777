import fc from "fast-check";
import { expect, it } from "vitest";
import { prepareCandidates, toCandidates } from "../../src/datasets/preparation.js";
import { haveSameProtectedTokens, protectedTokensOf } from "../../src/datasets/protected-tokens.js";
import { QualityChecker } from "../../src/datasets/quality-checker.js";
import type { SampleInput } from "../../src/datasets/sample-input.js";
import { jaccard, shinglesOf } from "../../src/datasets/shingles.js";
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
