import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { startStandInEngine } from "../../src/testing/index.js";

const texts = fc.array(fc.string({ unit: "binary", minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 8 });
const lineEnds = fc.constantFrom("\n", "\r\n", "\r");
const comment = fc.constantFrom("", ": ping", "retry: 10", "event: message", "id: 7");

/** Cuts bytes at the given places, each a share of the whole length. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => Math.floor(place * bytes.length)))].sort((a, b) => a - b);
  return [...ends, bytes.length]
    .map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end))
    .filter((part) => part.length > 0);
}

describe("a stream that is split anywhere", () => {
  let server: Server;
  let serving: ServingClient;
  let parts: Buffer[] = [];

  beforeAll(async () => {
    server = createServer(async (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const part of parts) {
        response.write(part);
        await nextTurn();
      }
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    serving = new ServingClient({ endpoints: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`], retries: { max: 0 } });
  });
  afterAll(async () => {
    await serving.close();
    server.close();
  });

  it("gives the text unchanged, whatever the parts, the line ends and what stands between", async () => {
    await fc.assert(
      fc.asyncProperty(
        texts,
        lineEnds,
        comment,
        fc.array(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), { maxLength: 12 }),
        fc.boolean(),
        async (words, lineEnd, noise, places, hasMark) => {
          const events: string[] = words.map((text, index) =>
            JSON.stringify({
              choices: [{ index: 0, delta: { content: text }, finish_reason: index === words.length - 1 ? "stop" : null }],
            }),
          );
          const lines = [...events, "[DONE]"].flatMap((data) => [...(noise === "" ? [] : [noise]), `data: ${data}`, ""]);
          // JSON keeps lone surrogates as escapes; every other character is sent as UTF-8
          parts = cut(Buffer.from((hasMark ? "\uFEFF" : "") + lines.join(lineEnd) + lineEnd, "utf8"), places);
          const stream = serving.stream({ prompt: "?" });
          let text = "";
          for await (const chunk of stream) text += chunk.text;
          expect(text).toBe(words.join(""));
          expect((await stream.result).text).toBe(text);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("gives the text unchanged where every byte comes alone, also inside of a character", async () => {
    await using engine = await startStandInEngine({
      answer: () => ["Grüße ", "👩‍👩‍👧 ", "東京 ", "\u{1F600}"],
      faults: [{ kind: "split", bytes: 1 }],
    });
    await using client = new ServingClient({ endpoints: [engine.url] });
    const stream = client.stream({ prompt: "?" });
    let text = "";
    for await (const chunk of stream) text += chunk.text;
    expect(text).toBe("Grüße 👩‍👩‍👧 東京 \u{1F600}");
    expect((await client.generate({ prompt: "?" })).text).toBe(text);
  });
});
