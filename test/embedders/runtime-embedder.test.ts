import { describe, expect, it } from "vitest";
import { RuntimeEmbedder } from "../../src/embedders/index.js";
import type { EndpointProvider } from "../../src/types/common.js";

const answer = { data: [{ index: 0, embedding: [0.6, 0.8] }] };

describe("the runtime's embedder", () => {
  it("asks where the runtime is before each call, and brings its token", async () => {
    const asked: { url: string; authorization: string | undefined; model: string }[] = [];
    const fetch = async (url: string, init: { headers: Record<string, string>; body: string }) => {
      asked.push({ url, authorization: init.headers.authorization, model: JSON.parse(init.body).model });
      return new Response(JSON.stringify(answer));
    };
    let port = 1;
    const runtime: EndpointProvider = { name: "moving", resolve: async () => ({ url: `http://127.0.0.1:${port++}`, token: "secret" }) };
    const embedder = new RuntimeEmbedder({ runtime, fetch: fetch as never });
    expect([embedder.name, embedder.dimensions]).toEqual(["runtime:base", 0]);
    expect(await embedder.embed(["Hello"])).toEqual([[0.6, 0.8]]);
    await embedder.embed(["Hello"]);
    expect(asked).toEqual(
      [1, 2].map((expected) => ({
        url: `http://127.0.0.1:${expected}/v1/embeddings`,
        authorization: "Bearer secret",
        model: "base",
      })),
    );
    expect(embedder.dimensions).toBe(2);
  });

  it("has a name that says which model embeds", () => {
    const runtime: EndpointProvider = { name: "none", resolve: () => Promise.reject(new Error("not asked")) };
    expect(new RuntimeEmbedder({ runtime, model: "bge-m3" }).name).toBe("runtime:bge-m3");
  });
});
