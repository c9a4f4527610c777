import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LexicalEmbedder } from "../../src/embedders/index.js";

const embedder = new LexicalEmbedder();

async function cosine(left: string, right: string): Promise<number> {
  const [a, b] = await embedder.embed([left, right]);
  return a!.reduce((sum, value, index) => sum + value * b![index]!, 0);
}

describe("the lexical embedder", () => {
  it("gives unit vectors of its dimensions for any text, and the same ones each time", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 200 }), async (text) => {
        const [vector] = await embedder.embed([text]);
        const [again] = await new LexicalEmbedder().embed([text]);
        expect(again!.every((value, index) => value === vector![index])).toBe(true);
        expect(vector!.length).toBe(512);
        expect(Math.hypot(...vector!)).toBeCloseTo(1, 6);
      }),
    );
  });

  it("does not hear case, width, umlaut spelling or punctuation", async () => {
    const [plain, shouted, wide] = await embedder.embed([
      "gebuehr fuer den fuehrerschein",
      "GEBÜHR für den Führerschein?!",
      "ｇebühr für den führerschein",
    ]);
    expect(shouted).toEqual(plain);
    expect(wide).toEqual(plain);
  });

  it("finds a compound near its parts, and topics nearer than frames", async () => {
    expect(await cosine("Widerspruchsfrist", "Frist für den Widerspruch")).toBeGreaterThan(0.3);
    expect(await cosine("Widerspruchsfrist", "Gebühr für die Hundesteuer")).toBeLessThan(0.1);
    const sameTopic = await cosine("What is the opening hour of the greenhouse?", "greenhouse opening hours");
    const sameFrame = await cosine("What is the opening hour of the greenhouse?", "What is the processing fee of the permit?");
    expect(sameTopic).toBeGreaterThan(sameFrame + 0.3);
  });

  it("refuses dimensions that are no vector's", () => {
    expect(() => new LexicalEmbedder({ dimensions: 0.5 })).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });

  it("rejects when aborted", async () => {
    await expect(embedder.embed(["a"], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });
});
