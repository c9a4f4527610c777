import { beforeAll, describe, expect, it } from "vitest";
import { AdapterRouter } from "../../src/router/index.js";
import { DOMAINS, GENERAL_QUESTIONS } from "./domains.js";

async function routerOf(names: readonly string[]): Promise<AdapterRouter> {
  const router = new AdapterRouter();
  for (const { name, examples } of DOMAINS.filter((domain) => names.includes(domain.name))) {
    const adapter = await router.registerAdapter({ name, domain: name, path: `adapters/${name}@v1`, baseModel: "tiny", examples });
    await router.activateAdapter(adapter.id);
  }
  return router;
}

async function shareRouted(router: AdapterRouter, questions: readonly string[], adapterId: string | null): Promise<number> {
  const decisions = await Promise.all(questions.map((question) => router.route(question)));
  return decisions.filter((decision) => decision.adapterId === adapterId).length / questions.length;
}

describe.each([
  ["three domains", ["museum", "harbour", "recht"]],
  ["two domains", ["museum", "harbour"]],
  ["one domain", ["recht"]],
])("without a model, with %s", (_, names) => {
  let router: AdapterRouter;
  beforeAll(async () => {
    router = await routerOf(names);
  });

  it.each(names)("paraphrases about %s that no example holds reach its adapter", async (name) => {
    const { paraphrases, rewordings } = DOMAINS.find((domain) => domain.name === name)!;
    expect(await shareRouted(router, paraphrases, `${name}@v1`)).toBeGreaterThanOrEqual(0.95);
    expect(await shareRouted(router, rewordings, `${name}@v1`)).toBeGreaterThanOrEqual(0.9);
  });

  it("general questions stay with the base model", async () => {
    expect(await shareRouted(router, GENERAL_QUESTIONS, null)).toBeGreaterThanOrEqual(0.97);
  });

  it("questions of a domain without an adapter stay with the base model", async () => {
    for (const { name, examples, paraphrases } of DOMAINS) {
      if (!names.includes(name)) expect(await shareRouted(router, [...examples, ...paraphrases], null)).toBeGreaterThanOrEqual(0.97);
    }
  });

  it("confidences are probabilities: calibrated within three points on what was not fitted", () => {
    expect(router.status().embeddings.calibrationError).toBeLessThanOrEqual(0.03);
  });
});

describe("with few examples", () => {
  it("three questions are enough to be found by their topic, also in a compound", async () => {
    const router = new AdapterRouter();
    const examples = [
      "Genehmigung für Photovoltaik?",
      "Wie beantrage ich eine Baugenehmigung?",
      "Welche Unterlagen braucht der Bauantrag?",
    ];
    const { id } = await router.registerAdapter({ name: "bau", domain: "bau", path: "adapters/bau@v1", baseModel: "tiny", examples });
    await router.activateAdapter(id);
    expect(await router.route("Brauche ich eine Genehmigung für eine Photovoltaikanlage?")).toMatchObject({ adapterId: id, domain: "bau" });
    expect(await router.route("Wie wird das Wetter?")).toMatchObject({ adapterId: null, strategy: "default" });
  });

  it("an adapter without examples is found by hint and pin only", async () => {
    const router = new AdapterRouter();
    const { id } = await router.registerAdapter({ name: "bau", domain: "bau", path: "adapters/bau@v1", baseModel: "tiny" });
    await router.activateAdapter(id);
    expect(await router.route("Genehmigung für Photovoltaik?")).toMatchObject({ adapterId: null, confidence: 0 });
    expect(await router.route("Genehmigung für Photovoltaik?", { domain: "bau" })).toMatchObject({ adapterId: id, strategy: "domain" });
    expect(router.status().domains).toEqual([{ domain: "bau", adapterId: id, isEmbedded: false }]);
  });
});
