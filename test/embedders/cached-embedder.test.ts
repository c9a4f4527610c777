import { describe, expect, it } from "vitest";
import { cached } from "../../src/embedders/index.js";
import type { Embedder } from "../../src/types/common.js";

function countingEmbedder() {
  const asked: string[][] = [];
  const embedder: Embedder = {
    name: "counting",
    dimensions: 2,
    embed: async (texts) => {
      asked.push([...texts]);
      return texts.map((text) => [text.length, 1]);
    },
  };
  return { asked, embedder };
}

describe("a cached embedder", () => {
  it("asks for each unknown text once and answers in the order of the texts", async () => {
    const { asked, embedder } = countingEmbedder();
    const remembering = cached(embedder);
    expect(await remembering.embed(["aa", "b", "aa"])).toEqual([
      [2, 1],
      [1, 1],
      [2, 1],
    ]);
    expect(await remembering.embed(["ccc", "aa"])).toEqual([
      [3, 1],
      [2, 1],
    ]);
    expect(asked).toEqual([["aa", "b"], ["ccc"]]);
  });

  it("forgets the least recently used text first", async () => {
    const { asked, embedder } = countingEmbedder();
    const remembering = cached(embedder, { maxEntries: 2 });
    await remembering.embed(["a"]);
    await remembering.embed(["b"]);
    await remembering.embed(["a"]);
    await remembering.embed(["c"]);
    await remembering.embed(["a"]);
    await remembering.embed(["b"]);
    expect(asked).toEqual([["a"], ["b"], ["c"], ["b"]]);
  });

  it("cannot be spoiled by a caller who edits an answer", async () => {
    const remembering = cached(countingEmbedder().embedder);
    const [vector] = await remembering.embed(["a"]);
    vector![0] = 99;
    expect(await remembering.embed(["a"])).toEqual([[1, 1]]);
  });

  it("does not remember a failure", async () => {
    let fails = true;
    const remembering = cached({
      name: "moody",
      dimensions: 1,
      embed: async () => {
        if (fails) throw new Error("down");
        return [[1]];
      },
    });
    await expect(remembering.embed(["a"])).rejects.toThrow("down");
    fails = false;
    expect(await remembering.embed(["a"])).toEqual([[1]]);
  });
});
