import { beforeEach, describe, expect, it, vi } from "vitest";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import { AdapterRouter } from "../../src/router/index.js";
import { fitProbes } from "../../src/router/linear-probes.js";
import { invertPositiveDefinite } from "../../src/router/positive-definite.js";
import { sphericalKMeans } from "../../src/router/spherical-k-means.js";
import { calibrateTable } from "../../src/router/table-calibration.js";
import { vocabularyOf } from "../../src/router/vocabulary.js";
import { DOMAINS } from "./domains.js";

vi.mock("../../src/router/linear-probes.js", { spy: true });
vi.mock("../../src/router/positive-definite.js", { spy: true });
vi.mock("../../src/router/spherical-k-means.js", { spy: true });
vi.mock("../../src/router/table-calibration.js", { spy: true });
vi.mock("../../src/router/vocabulary.js", { spy: true });

/** How often each part of a table was made since the last count. */
function made() {
  const counts = {
    clusters: vi.mocked(sphericalKMeans).mock.calls.length,
    vocabularies: vi.mocked(vocabularyOf).mock.calls.length,
    probes: vi.mocked(fitProbes).mock.calls.length,
    inverses: vi.mocked(invertPositiveDefinite).mock.calls.length,
    heads: vi.mocked(calibrateTable).mock.calls.length,
  };
  vi.clearAllMocks();
  return counts;
}

const NOTHING = { clusters: 0, vocabularies: 0, probes: 0, inverses: 0, heads: 0 };
const ONE_TABLE = { probes: 1, inverses: 1, heads: 1 };

describe("an activation", () => {
  let router: AdapterRouter;
  let embedded: string[];

  const register = async (domain: string, examples: readonly string[]): Promise<string> => {
    const adapter = { name: domain, domain, path: `adapters/${domain}`, baseModel: "tiny", examples: [...examples] };
    return (await router.registerAdapter(adapter)).id;
  };

  beforeEach(async () => {
    const lexical = new LexicalEmbedder();
    embedded = [];
    router = new AdapterRouter({
      refreshIntervalMs: 0,
      embedder: {
        name: "counting",
        dimensions: lexical.dimensions,
        embed: (texts, options) => {
          embedded.push(...texts);
          return lexical.embed(texts, options);
        },
      },
    });
    for (const { name, examples } of DOMAINS) await router.activateAdapter(await register(name, examples));
    made();
    embedded.length = 0;
  });

  it("embeds, clusters and counts the new adapter's examples alone, and inverts one matrix for all probes", async () => {
    const examples = ["Which bus goes to the zoo?", "When does the zoo bus leave?", "Is there a night bus?"];
    await router.activateAdapter(await register("bus", examples));
    expect(embedded.sort()).toEqual([...examples].sort());
    expect(made()).toEqual({ clusters: 1, vocabularies: 1, ...ONE_TABLE });
    const next = await register("bus", [...examples, "How much is a bus ticket?"]);
    await router.activateAdapter(next);
    expect(made()).toEqual({ clusters: 1, vocabularies: 1, ...ONE_TABLE });
    await router.rollback("bus");
    expect(made()).toEqual({ ...NOTHING, ...ONE_TABLE });
  });

  it("of another tenant's adapter leaves the table alone that is everybody's", async () => {
    await router.activateAdapter(await register("acme--bus", ["Which bus goes to the zoo?"]));
    expect(made()).toEqual(NOTHING);
    await router.route("Which bus?", { tenant: "acme" });
    expect(made()).toEqual({ clusters: 1, vocabularies: 1, ...ONE_TABLE });
  });

  it("of many at once builds for the first and once for all others", async () => {
    const ids = await Promise.all(["a", "b", "c", "d", "e"].map((domain) => register(domain, [`Where is ${domain}?`])));
    await Promise.all(ids.map((id) => router.activateAdapter(id)));
    const { heads, clusters } = made();
    expect(clusters).toBe(ids.length);
    expect(heads).toBeLessThanOrEqual(2);
  });

  it("is the only thing that builds: nothing is made for refreshes, candidates, settings and questions", async () => {
    await router.refresh();
    const id = await register("bus", ["Which bus goes to the zoo?"]);
    await router.rejectAdapter(id, "worse");
    await router.configure({ thresholds: { confHigh: 0.9 } });
    await router.route("Which bus goes to the zoo?");
    await router.refresh();
    expect(made()).toEqual(NOTHING);
  });
});
