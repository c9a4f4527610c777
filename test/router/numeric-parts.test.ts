import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { choiceProbabilities, expectedCalibrationError, fitChoice, type LabelledChoice } from "../../src/router/calibrated-choice.js";
import { gramOf, invertPositiveDefinite } from "../../src/router/positive-definite.js";
import { exchangeWords, type Question, readQuestion } from "../../src/router/question.js";
import { sphericalKMeans } from "../../src/router/spherical-k-means.js";
import { TermOdds } from "../../src/router/term-odds.js";
import { dot, normalised } from "../../src/router/unit-vectors.js";
import { VectorBlock } from "../../src/router/vector-block.js";
import { vocabularyOf } from "../../src/router/vocabulary.js";
import { seededRandom } from "../../src/support/seeded-random.js";

const numbers = fc.float({ min: -4, max: 4, noNaN: true });

describe("the vector block", () => {
  it("gives the dot products of plain arithmetic for any shape", () => {
    const shapes = fc
      .tuple(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 9 }))
      .chain(([dimensions, rows]) =>
        fc.tuple(
          fc.array(fc.array(numbers, { minLength: dimensions, maxLength: dimensions }), { minLength: rows, maxLength: rows }),
          fc.array(numbers, { minLength: dimensions, maxLength: dimensions }),
        ),
      );
    fc.assert(
      fc.property(shapes, ([rows, query]) => {
        const block = new VectorBlock(rows, query.length);
        block.setQuery(query);
        const products = block.multiply();
        for (const [index, row] of rows.entries()) expect(products[index]).toBeCloseTo(dot(row, query), 2);
      }),
    );
  });

  it("centres a query as it takes it", () => {
    const mean = Float32Array.of(1, 0);
    const block = new VectorBlock([[0, 1]], 2);
    const scale = block.setQuery([1, 3], mean);
    expect(block.multiply()[0]! * scale).toBeCloseTo(1);
  });
});

describe("the inverse of a positive definite matrix", () => {
  it.each([1, 15, 16, 17, 80])("times the matrix is the identity, with %i rows", async (size) => {
    const random = seededRandom(size);
    const vectors = Array.from({ length: size }, () => Float32Array.from({ length: 2 * size }, () => random() - 0.5));
    const ridge = 0.5;
    const pause = async () => {};
    const inverse = await invertPositiveDefinite(await gramOf(new VectorBlock(vectors, 2 * size), ridge, pause), pause);
    for (const [index, vector] of vectors.entries()) {
      const column = vectors.map((other, row) => dot(vector, other) + (row === index ? ridge : 0));
      const identity = inverse.productWith(column);
      for (const [row, value] of identity.entries()) expect(value).toBeCloseTo(row === index ? 1 : 0, 4);
    }
  });
});

describe("spherical k-means", () => {
  const random = seededRandom(3);
  const bundles = [0, 1, 2].map((axis) =>
    Array.from({ length: 20 }, () => normalised(Array.from({ length: 8 }, (_, index) => (index === axis ? 1 : 0.2 * (random() - 0.5))))),
  );

  it("finds bundles of directions, the same ones each time", () => {
    const clusters = sphericalKMeans(bundles.flat(), 3);
    const groups = bundles.map((_, bundle) => new Set([...clusters.assignment].slice(20 * bundle, 20 * bundle + 20)));
    expect(groups.map((group) => group.size)).toEqual([1, 1, 1]);
    expect(new Set(groups.flatMap((group) => [...group])).size).toBe(3);
    expect(sphericalKMeans(bundles.flat(), 3)).toEqual(clusters);
  });

  it("makes no empty groups of equal vectors", () => {
    const clusters = sphericalKMeans(
      Array.from({ length: 5 }, () => normalised([1, 2])),
      4,
    );
    expect(clusters.counts).toEqual([5]);
  });
});

describe("the calibrated choice", () => {
  /** Choices drawn from known weights. */
  function draw(weights: number[], count: number): LabelledChoice[] {
    const random = seededRandom(11);
    return Array.from({ length: count }, () => {
      const features = Array.from({ length: 3 }, () => [1, 4 * random() - 2, 4 * random() - 2]);
      const probabilities = choiceProbabilities(features, weights);
      let left = random();
      const label = probabilities.findIndex((probability) => {
        left -= probability;
        return left < 0;
      });
      return { features, label, weight: 1 };
    });
  }

  it("finds the weights that made the choices, and is calibrated on others", async () => {
    const truth = [-1, 2, -0.5];
    const weights = await fitChoice(draw(truth, 4000), { mean: [0, 0, 0], precision: [0.01, 0.01, 0.01] });
    for (const [index, weight] of weights.entries()) expect(Math.abs(weight - truth[index]!)).toBeLessThan(0.2);
    const predictions = draw(truth, 4000).map(({ features, label, weight }) => {
      const probabilities = choiceProbabilities(features, weights);
      const confidence = Math.max(...probabilities);
      return { confidence, isRight: probabilities[label] === confidence, weight };
    });
    expect(expectedCalibrationError(predictions)).toBeLessThan(0.03);
  });

  it("stays with its prior where nothing was chosen", async () => {
    expect(await fitChoice([], { mean: [1, 2], precision: [1, 1] })).toEqual([1, 2]);
  });

  it("reports the distance of confidence and truth", () => {
    const always = (confidence: number, isRight: boolean) => Array.from({ length: 10 }, () => ({ confidence, isRight, weight: 1 }));
    expect(expectedCalibrationError([...always(0.75, true), ...always(0.75, false)])).toBeCloseTo(0.25);
    expect(expectedCalibrationError(always(1, true))).toBe(0);
  });
});

describe("a paraphrase", () => {
  const question = readQuestion("Which key opens the chapel near the harbour gate?");
  const kept = (share: number, seed: number): number => {
    const known = new Set(question.words.map(({ stem }) => stem));
    return exchangeWords(question, share, seed)!.question.words.filter(({ stem }) => known.has(stem)).length;
  };

  it("keeps all words but one, or but a share, whichever is exchanged", () => {
    expect(question.words.length).toBeGreaterThanOrEqual(5);
    for (const seed of [0, 1, 2, 3]) {
      expect(kept(0, seed)).toBe(question.words.length - 1);
      expect(kept(0.5, seed)).toBe(Math.ceil(question.words.length / 2));
    }
  });

  it("says how much of the content it exchanged, also in the pairs", () => {
    const { question: paraphrase, exchanged } = exchangeWords(question, 0, 0)!;
    const total = question.words.reduce((sum, { weight }) => sum + weight, 0);
    expect(exchanged).toBeCloseTo(question.words[0]!.weight / total);
    expect(paraphrase.terms.some((term) => term.split(" ").includes(question.words[0]!.stem))).toBe(false);
    expect(exchangeWords(readQuestion("the chapel"), 0.5, 0)).toBeNull();
  });
});

describe("the odds of words and pairs", () => {
  const indexed = (questions: Question[]) => ({ questions, vocabulary: vocabularyOf(questions) });
  const adapters = [
    ["Are you a robot?", "Are you a person?", "Can you hear me?"],
    ["Which key opens the chapel?", "Who has the key of the chapel?", "Where is the chapel?"],
  ].map((examples) => examples.map(readQuestion));
  const odds = new TermOdds(adapters.map(indexed), ["How high is the tower?", "Who are the Beatles?"].map(readQuestion));
  const oddsOf = (text: string): number[] => odds.of([0, 1], readQuestion(text));

  it("tell adapters apart by function words alone, where only those differ", () => {
    const [talk, keys] = oddsOf("And are you?");
    expect(talk).toBeGreaterThan(0);
    expect(keys).toBeLessThanOrEqual(0);
  });

  it("count unknown content against an adapter, and unknown phrasing not", () => {
    const known = oddsOf("the chapel")[1]!;
    expect(oddsOf("the zeppelin chapel")[1]).toBeLessThan(known);
    expect(oddsOf("so could we, about the chapel")[1]).toBeCloseTo(known);
  });

  it("of an example left out are those of a table that never had it", () => {
    const [talk, keys] = adapters as [(typeof adapters)[0], (typeof adapters)[0]];
    const without = new TermOdds([talk.slice(1), keys].map(indexed), ["How high is the tower?", "Who are the Beatles?"].map(readQuestion));
    const left = odds.of([0, 1], talk[0]!, { adapter: 0, example: 0 });
    for (const [index, value] of without.of([0, 1], talk[0]!).entries()) expect(left[index]).toBeCloseTo(value);
  });
});
