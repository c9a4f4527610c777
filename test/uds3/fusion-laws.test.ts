import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Fusion, fuse } from "../../src/uds3/fusion.js";
import type { LegHit } from "../../src/uds3/leg.js";

const fields = { title: null, documentType: null, domain: null, source: null, date: null, quality: null };
const list = fc
  .uniqueArray(fc.record({ id: fc.integer({ min: 0, max: 30 }), score: fc.double({ min: 0, max: 1, noNaN: true }) }), {
    selector: ({ id }) => id,
    maxLength: 20,
  })
  .map((hits) =>
    hits
      .sort((left, right) => right.score - left.score)
      .map(({ id, score }): LegHit => ({ documentId: `d${id}`, score, content: null, fields })),
  );
const weight = fc.double({ min: 0, max: 10, noNaN: true });
const weights = fc.record({ vector: weight, keyword: weight, graph: weight });
const lists = fc.record({ vector: list, keyword: list, graph: list }, { requiredKeys: [] });

describe.each<Fusion>(["weighted", "rrf"])("fusion by %s", (fusion) => {
  test("gives each document once, best first, between 0 and 1", () => {
    fc.assert(
      fc.property(lists, weights, (found, by) => {
        const fused = fuse(found, by, fusion);
        expect(new Set(fused.map(({ documentId }) => documentId)).size).toBe(fused.length);
        for (const [index, { score }] of fused.entries()) {
          expect(score).toBeGreaterThan(0);
          expect(score).toBeLessThanOrEqual(1);
          if (index > 0) expect(fused[index - 1]!.score).toBeGreaterThanOrEqual(score);
        }
      }),
    );
  });

  test("is the same for weights of another scale", () => {
    fc.assert(
      fc.property(lists, weights, (found, by) => {
        const doubled = { vector: 2 * by.vector, keyword: 2 * by.keyword, graph: 2 * by.graph };
        expect(fuse(found, doubled, fusion)).toEqual(fuse(found, by, fusion));
      }),
    );
  });

  test("never ranks what every leg puts behind another document before it", () => {
    fc.assert(
      fc.property(list, weights, (hits, by) => {
        fc.pre(by.vector + by.keyword + by.graph > 1e-3);
        const order = fuse({ vector: hits, keyword: hits, graph: hits }, by, fusion).map(({ documentId }) => documentId);
        const place = new Map(hits.map(({ documentId, score }) => [documentId, score]));
        for (const [index, id] of order.entries())
          if (index > 0) expect(place.get(order[index - 1]!)).toBeGreaterThanOrEqual(place.get(id)!);
      }),
    );
  });

  test("forgets a leg that did not answer instead of counting it as 0", () => {
    const hit: LegHit = { documentId: "only", score: 1, content: null, fields };
    expect(fuse({ keyword: [hit] }, { vector: 0.5, graph: 0.3, keyword: 0.2 }, fusion)[0]?.score).toBe(1);
    expect(fuse({ keyword: [hit], vector: [] }, { vector: 0.5, graph: 0.3, keyword: 0.5 }, fusion)[0]?.score).toBe(0.5);
  });
});
