import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AdapterRouter } from "../../src/router/index.js";
import { DOMAINS, GENERAL_QUESTIONS } from "./domains.js";

async function routerOf(domains: readonly { name: string; examples: readonly string[] }[]): Promise<AdapterRouter> {
  const router = new AdapterRouter({ refreshIntervalMs: 0 });
  for (const { name, examples } of domains) {
    const { id } = await router.registerAdapter({
      name,
      domain: name,
      path: `adapters/${name}@v1`,
      baseModel: "tiny",
      examples: [...examples],
    });
    await router.activateAdapter(id);
  }
  return router;
}

const questions = fc.oneof(
  fc.constantFrom(...DOMAINS.flatMap(({ paraphrases, rewordings }) => [...paraphrases, ...rewordings]), ...GENERAL_QUESTIONS),
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.array(fc.constantFrom("crane", "Frist", "the", "für", "planetarium", "7", "xyzzy"), { maxLength: 8 }).map((words) => words.join(" ")),
);

describe("for every question", () => {
  it("the choice does not depend on the order of adapters and examples", async () => {
    const forwards = await routerOf(DOMAINS);
    const backwards = await routerOf([...DOMAINS].reverse().map(({ name, examples }) => ({ name, examples: [...examples].reverse() })));
    await fc.assert(
      fc.asyncProperty(questions, async (question) => {
        const { id: _, ...decision } = await forwards.route(question);
        const { id: __, ...other } = await backwards.route(question);
        expect(other).toEqual(decision);
      }),
      { numRuns: 300 },
    );
  });

  it("the confidence is a probability, candidates come best first, and what answers is above the threshold or the default", async () => {
    const router = await routerOf(DOMAINS);
    await fc.assert(
      fc.asyncProperty(questions, async (question) => {
        const { adapterId, confidence, candidates, strategy } = await router.route(question);
        const scores = candidates.map(({ score }) => score);
        expect(confidence).toBeGreaterThanOrEqual(0);
        expect(confidence).toBeLessThanOrEqual(1);
        expect(scores.reduce((sum, score) => sum + score, 0)).toBeLessThanOrEqual(1 + 1e-9);
        expect([...scores].sort((left, right) => right - left)).toEqual(scores);
        if (strategy === "embedding") expect(confidence).toBeGreaterThanOrEqual(0.55);
        else expect([adapterId, strategy]).toEqual([null, "default"]);
      }),
      { numRuns: 300 },
    );
  });

  it("a pin wins over everything", async () => {
    const router = await routerOf(DOMAINS);
    const pins = fc.option(fc.constantFrom("museum@v1", "recht@v1", "other@v9"));
    const hints = fc.option(fc.constantFrom("museum", "harbour", "zoo"), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(questions, pins, hints, async (question, pinned, domain) => {
        expect(await router.route(question, { pinned, domain })).toMatchObject({ adapterId: pinned, strategy: "pinned", confidence: 1 });
      }),
    );
  });
});
