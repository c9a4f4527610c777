import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { HashNumbers } from "../../src/datasets/hash-numbers.js";
import { SortedSpool } from "../../src/datasets/import/sorted-spool.js";
import { DatasetManager, DuplicateIndex } from "../../src/datasets/index.js";
import { NearCandidates } from "../../src/datasets/near-candidates.js";
import { prepareCandidates, toCandidates } from "../../src/datasets/preparation.js";
import { orderKeyOf } from "../../src/datasets/prepare-rows.js";
import { QualityChecker } from "../../src/datasets/quality-checker.js";
import { isUnusable } from "../../src/datasets/sample-input.js";
import { BANDS } from "../../src/datasets/shingles.js";
import { hashOf } from "../../src/support/hash-of.js";
import type { DatasetItem, Sample } from "../../src/types/index.js";
import { describeEachDatabase } from "../setup/index.js";

/** Facts in several phrasings, some repeated exactly, some with a letter changed, some with thumbs, some too long. */
const polite =
  "Guten Tag, ich möchte gern in aller Kürze und doch so genau wie möglich von Ihnen wissen, welche Frist in dieser Sache nach der Satzung der Gemeinde gilt, und zwar";
const samples: Partial<Sample>[] = Array.from({ length: 600 }, (_, index) => {
  const fact = index % 90;
  const phrasing = Math.floor(index / 90) % 4;
  const frame = [`${polite} für Antrag`, "Wie lange dauert Antrag", "Nenne die Frist für Antrag", `${polite} fürr Antrag`][phrasing];
  const answer = `Die Frist für Antrag ${fact} beträgt ${fact + 3} Tage${index % 7 === 0 ? "." : ""}`;
  return {
    id: `s${(index * 7919) % 600}`,
    prompt: `${frame} ${fact}?`,
    response: index % 50 === 49 ? `${answer} ${"und auch alle Unterlagen sind dem Amt rechtzeitig vorzulegen ".repeat(6)}` : answer,
    objective: index % 11 === 10 ? "preference" : "imitate",
    importance: 1 + (index % 5),
    qualityScore: index % 40 === 39 ? 0.1 : 0.8,
    domain: "recht",
    rating: 1,
    source: "test",
  };
});

const quality = new QualityChecker({ minScore: 0 });

describeEachDatabase("an import that has to be prepared", (harness) => {
  let datasets: DatasetManager;
  beforeAll(async () => {
    datasets = new DatasetManager({ store: await harness.open() });
  });

  it("keeps the rows, the splits and the reasons that preparing in memory gives", async () => {
    const expected = await datasets.prepareTrainingData(samples as Sample[], { maxLength: 110 });
    const lines = samples.map((sample) => Buffer.from(`${JSON.stringify(sample)}\n`));
    const { dataset } = await datasets.import(lines, { format: "jsonl", name: "on disk", prepare: { maxLength: 110 } });
    const items: DatasetItem[] = [];
    for await (const item of datasets.items(dataset.id)) items.push(item);
    expect(items).toEqual(expected.items);
    expect(dataset.statistics).toEqual(expected.statistics);
    const { preparation } = await datasets.analyze(dataset.id);
    expect(preparation).toMatchObject({ received: 600, kept: expected.report.kept });
    const counts: Record<string, number> = {};
    for (const { reason } of expected.report.removed) counts[reason.split(":")[0]!] = (counts[reason.split(":")[0]!] ?? 0) + 1;
    expect(preparation?.reasons).toEqual(counts);
    // The comparison says nothing of a stage that removed nothing.
    expect(Object.keys(counts).sort()).toEqual(["exact_duplicate", "held_out_question", "near_duplicate", "quality_score", "too_long"]);
  });
});

describe("what preparation keeps in memory", () => {
  it("finds the duplicates that an index of whole texts finds", async () => {
    const { items } = await prepareCandidates(toCandidates(samples as Sample[]), { holdout: false, minQualityScore: 0 }, { quality });
    const index = { imitate: new DuplicateIndex(), preference: new DuplicateIndex() };
    const distinct = toCandidates(samples as Sample[])
      .flatMap((candidate) => (isUnusable(candidate) ? [] : [candidate]))
      .sort((left, right) => (orderKeyOf(left) < orderKeyOf(right) ? -1 : 1))
      .map(({ sample }) => sample)
      .filter((sample) => {
        const isNew = index[sample.objective].find(sample) === null;
        if (isNew) index[sample.objective].add(sample.id, sample);
        return isNew;
      });
    expect(items.map(({ sample }) => sample.id)).toEqual(distinct.map(({ id }) => id));
    expect(items.length).toBeLessThan(samples.length - 100);
  });

  it("numbers texts by their hashes as a map would", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 2 }), { maxLength: 2000 }), (texts) => {
        const numbers = new HashNumbers();
        const map = new Map<string, number>();
        for (const text of texts) {
          if (!map.has(text)) map.set(text, map.size);
          expect(numbers.numberOf(hashOf(text))).toBe(map.get(text));
        }
        expect(numbers.size).toBe(map.size);
        for (const [text, number] of map) expect(numbers.hashOf(number)).toBe(hashOf(text).slice(0, 32));
      }),
      { numRuns: 20 },
    );
  });

  it("finds as candidates the kept rows that share a hash in the same band, and no others", () => {
    const hashes = fc.array(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: BANDS, maxLength: BANDS }), { maxLength: 40 });
    fc.assert(
      fc.property(hashes, fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }), (rows, isKept) => {
        const near = new NearCandidates();
        // The highest hashes take part too, so that none is lost in the bits.
        for (const row of rows) near.add(Uint32Array.from(row, (hash) => 0xffffffff - hash));
        near.seal();
        for (const [index, row] of rows.entries()) {
          const expected = rows.flatMap((other, before) =>
            before < index && isKept[before] && other.some((hash, band) => hash === row[band]) ? [before] : [],
          );
          expect([...near.of(index)].sort((left, right) => left - right)).toEqual(expected);
          if (isKept[index]) near.keep(index);
        }
      }),
    );
  });

  it("is brought into order in more runs than one, each text whole", async () => {
    const spool = await SortedSpool.open<{ number: number; text: string }>();
    try {
      const order = Array.from({ length: 300 }, (_, index) => (index * 7919) % 300);
      for (const number of order) await spool.add(String(number).padStart(3, "0"), { number, text: `ä\n${number}`.repeat(20_000) });
      let next = 0;
      for await (const { number, text } of spool.sorted()) {
        expect({ number, length: text.length, end: text.endsWith(`\n${next}`) }).toEqual({
          number: next,
          length: `ä\n${next}`.length * 20_000,
          end: true,
        });
        next += 1;
      }
      expect(next).toBe(300);
    } finally {
      await spool.close();
    }
  });
});
