/** Made-up adapters for the router's speed benches. */
import { seededRandom } from "../../src/support/seeded-random.js";
import type { Adapter } from "../../src/types/adapter.js";

const random = seededRandom(1);
/** One of them by chance, the same one in every run. */
export const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
const FRAMES = [
  "What is the # of the #?",
  "How do I get a # for my #?",
  "Who can help me with the # and the #?",
  "Please explain the # of a #.",
];
const newWord = (): string =>
  Array.from({ length: 2 + Math.floor(random() * 2) }, () => pick([..."bdfgklmnprst"]) + pick([..."aeiou"])).join("");

/** Adapters whose questions share their frames and some words, and have their own words besides. */
export function drawAdapters(count: number, examplesOfEach: number): Adapter[] {
  const shared = Array.from({ length: 200 }, newWord);
  return Array.from({ length: count }, (_, index) => {
    const own = Array.from({ length: 12 }, newWord);
    const examples = Array.from({ length: examplesOfEach }, () =>
      pick(FRAMES)
        .replace("#", () => pick(own))
        .replace("#", () => pick([...own, ...shared])),
    );
    return { id: `domain-${index}@v1`, name: `domain-${index}`, domain: `domain-${index}`, examples } as unknown as Adapter;
  });
}
