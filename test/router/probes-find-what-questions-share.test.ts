import { describe, expect, it } from "vitest";
import type { AdapterProfile } from "../../src/router/adapter-profile.js";
import { prepareBackground } from "../../src/router/background.js";
import { fitProbes, type LinearProbes } from "../../src/router/linear-probes.js";
import { readQuestion } from "../../src/router/question.js";
import { RoutingTable } from "../../src/router/routing-table.js";
import { sphericalKMeans } from "../../src/router/spherical-k-means.js";
import { dot, normalised, sumOf } from "../../src/router/unit-vectors.js";
import { vocabularyOf } from "../../src/router/vocabulary.js";
import { seededRandom } from "../../src/support/seeded-random.js";

const DIMENSIONS = 48;

function profileOf(id: string, vectors: Float32Array[]): AdapterProfile {
  const sum = sumOf(vectors, DIMENSIONS);
  const questions = vectors.map((_, index) => readQuestion(`${id} ${index}`));
  return {
    id,
    questions,
    vocabulary: vocabularyOf(questions),
    mean: normalised(sum),
    meanNorm: Math.hypot(...sum),
    clusters: sphericalKMeans(vectors, 2),
    exemplars: vectors,
  };
}

/** Questions that share a faint direction of their own, each about something else besides. */
function drawer(seed: number): (own: number) => Float32Array {
  const random = seededRandom(seed);
  return (own) => normalised(Array.from({ length: DIMENSIONS }, (_, index) => (index === own ? 0.9 : 0) + 1.5 * (random() - 0.5)));
}

const bestOf = (values: readonly number[]): number => values.indexOf(Math.max(...values));

describe("the linear probes", () => {
  const adapters = [0, 1, 2, 3];

  it("find the adapter of questions that are like none of its examples, more often than the nearest example does", async () => {
    const draw = drawer(5);
    const profiles = adapters.map((own) =>
      profileOf(
        `${own}`,
        Array.from({ length: 40 }, () => draw(own)),
      ),
    );
    const { rows } = await fitProbes(profiles, DIMENSIONS);
    const rightBy = { probe: 0, exemplar: 0 };
    for (let question = 0; question < 400; question++) {
      const own = question % adapters.length;
      const vector = draw(own);
      if (bestOf(rows.map((row) => dot(row, vector))) === own) rightBy.probe++;
      const nearest = profiles.map(({ exemplars }) => Math.max(...exemplars.map((exemplar) => dot(exemplar, vector))));
      if (bestOf(nearest) === own) rightBy.exemplar++;
    }
    expect(rightBy.probe).toBeGreaterThan(rightBy.exemplar + 60);
  });

  it("know what they would have said of an example without it", async () => {
    const draw = drawer(7);
    const vectors = adapters.map((own) => Array.from({ length: 8 }, () => draw(own)));
    const all = await fitProbes(
      vectors.map((own, index) => profileOf(`${index}`, own)),
      DIMENSIONS,
    );
    const without = await fitProbes(
      vectors.map((own, index) => profileOf(`${index}`, index === 1 ? own.slice(1) : own)),
      DIMENSIONS,
    );
    const example = vectors[1]![0]!;
    const leverage = all.leverage(example);
    const answers = ({ rows }: LinearProbes) => rows.map((row) => dot(row, example));
    for (const [adapter, answer] of answers(without).entries()) {
      expect((answers(all)[adapter]! - (adapter === 1 ? leverage : 0)) / (1 - leverage)).toBeCloseTo(answer, 4);
    }
  });

  it("stand for adapters that are not in the sample, too", async () => {
    const draw = drawer(9);
    const profiles = Array.from({ length: 1_100 }, (_, index) => profileOf(`${index}`, [draw(index % DIMENSIONS)]));
    const { rows } = await fitProbes(profiles, DIMENSIONS);
    for (const index of [0, 1, 1_099]) {
      const own = dot(rows[index]!, profiles[index]!.exemplars[0]!);
      const others = rows.filter((_, other) => other % DIMENSIONS !== index % DIMENSIONS);
      expect(own).toBeGreaterThan(others.reduce((sum, row) => sum + dot(row, profiles[index]!.exemplars[0]!), 0) / others.length);
    }
  });
});

describe("a routing table", () => {
  it.each([
    ["compares every one of a few adapters", 16, 16],
    ["compares the most promising of many", 100, 6],
  ])("%s", async (_, count, compared) => {
    const draw = drawer(3);
    const background = await prepareBackground(async (texts) => texts.map((_, index) => [...draw(index % DIMENSIONS)]));
    const profiles = Array.from({ length: count }, (_, index) =>
      profileOf(
        `adapter-${index}`,
        Array.from({ length: 12 }, () => draw(index % DIMENSIONS)),
      ),
    );
    const { rows } = await fitProbes(profiles, DIMENSIONS);
    const table = new RoutingTable(profiles, rows, background);
    const [scored] = table.score(draw(0), [{ question: readQuestion("adapter-0 1") }]);
    expect(scored).toHaveLength(compared);
  });
});
