import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Store } from "../../src/store/index.js";
import { splitLines } from "../../src/support/line-splitter.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { buildRooms } from "./support/rooms.js";

const good = '{"prompt":"Wer pflegt das Gewächshaus?","response":"Das Gewächshaus pflegt Herr Müller.","rating":1,"correction":null}';

/** Cuts bytes into pieces of a size, also inside characters. */
function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

describe("lines", () => {
  it("come out the same however the bytes are cut", async () => {
    const bytes = Buffer.concat([Buffer.from("\ufeffeins ä€😀\r\nzwei\n\n"), Buffer.from([0x61, 0xff, 0x62, 0x0a]), Buffer.from("letzte")]);
    const expected = [
      { number: 1, text: "eins ä€😀" },
      { number: 2, text: "zwei" },
      { number: 3, text: "" },
      { number: 4, code: "invalid_utf8" },
      { number: 5, text: "letzte" },
    ];
    for (let size = 1; size <= bytes.length; size++) expect(await collect(splitLines(pieces(bytes, size)))).toEqual(expected);
  });

  it("are strings as readline gives them, or several in one", async () => {
    expect(await collect(splitLines(["one", "two\nthree\n", "four"]))).toEqual([
      { number: 1, text: "one" },
      { number: 2, text: "two" },
      { number: 3, text: "three" },
      { number: 4, text: "four" },
    ]);
  });

  it("that never end are dropped without being kept in memory", async () => {
    const endless = (function* () {
      for (let index = 0; index < 40; index++) yield Buffer.alloc(256 * 1024, 97);
      yield Buffer.from("\nnext\n");
    })();
    expect(await collect(splitLines(endless))).toEqual([
      { number: 1, code: "line_too_long" },
      { number: 2, text: "next" },
    ]);
  });
});

describeEachStore("an import", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  it("records every line: learnt, duplicate, junk, broken JSON, broken UTF-8, wrong fields", async () => {
    const { pipeline } = buildRooms(store);
    const lines = Buffer.concat([
      Buffer.from(`${good}\n${good}\n\nnot json\n[1]\n`),
      Buffer.from('{"prompt":"x","rating":1}\n{"prompt":"Who?","response":"Mrs Kowalczyk does that.","rating":7}\n'),
      Buffer.from([...Buffer.from('{"prompt":"'), 0xc3, 0x28, ...Buffer.from('"}\n')]),
      Buffer.from('{"prompt":"asdf asdf","response":"?","rating":1}\n'),
      Buffer.from(`{"prompt":"${"a".repeat(1_100_000)}","response":"b","rating":1}\n`),
    ]);
    const progress: number[] = [];
    const result = await pipeline.importFeedback(Readable.from(pieces(lines, 1000)), { onProgress: ({ lines }) => progress.push(lines) });
    expect(result).toMatchObject({ lines: 9, accepted: 1, duplicates: 1, rejected: 7, review: 0 });
    expect(result.errors.map(({ line, code }) => `${line} ${code}`)).toEqual([
      "4 invalid_json",
      "5 invalid_json",
      "6 feedback_invalid",
      "7 feedback_invalid",
      "8 invalid_utf8",
      "9 rejected",
      "10 payload_too_large",
    ]);
    expect(progress.at(-1)).toBe(9);
    expect(await pipeline.ledger()).toMatchObject({ received: 9, accepted: 1, duplicates: 1, rejected: 7, lost: 0 });
  });

  it("takes the example files as they are", async () => {
    const { pipeline } = buildRooms(store, { bufferCapacity: 2000 });
    let received = 0;
    for (const name of ["building", "office", "spoiled"]) {
      const result = await pipeline.importFeedback(createReadStream(new URL(`../../examples/data/${name}.jsonl`, import.meta.url)));
      expect(result.accepted).toBeGreaterThan(50);
      received += result.lines;
    }
    const ledger = await pipeline.ledger();
    expect(ledger).toMatchObject({ received, lost: 0, usedTwice: 0 });
    expect(ledger.accepted + ledger.rejected + ledger.duplicates + ledger.review).toBe(received);
  });

  it("waits while the buffer is full, until a cycle makes room", async () => {
    const { pipeline } = buildRooms(store, { bufferCapacity: 60, triggers: { intervalMs: 100, cooldownMs: 0 } });
    await pipeline.start();
    let waited = 0;
    const lines = corrections(facts(60), { domain: "import-wait" }).map((input) => JSON.stringify(input));
    const result = await pipeline.importFeedback(lines, {
      onProgress: ({ isWaiting }) => {
        if (isWaiting) waited++;
      },
    });
    expect(result).toMatchObject({ lines: 180, accepted: 180 });
    expect(waited).toBeGreaterThan(0);
    await pipeline.stop();
    expect(await pipeline.ledger()).toMatchObject({ received: 180, accepted: 180, lost: 0, usedTwice: 0 });
  });

  it("can be aborted; what was taken is stored, and says how much", async () => {
    const { pipeline } = buildRooms(store);
    const controller = new AbortController();
    const endless = (async function* () {
      for (let index = 0; ; index++) {
        yield JSON.stringify({
          prompt: `Who looks after house ${index} in the street?`,
          response: `House ${index} is looked after by Mrs Silva.`,
          rating: 1,
        });
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const importing = pipeline.importFeedback(endless, {
      signal: controller.signal,
      onProgress: ({ lines }) => {
        if (lines >= 20) controller.abort();
      },
    });
    const error = (await importing.catch((reason: unknown) => reason)) as { code: string; details: { accepted: number } };
    expect(error.code).toBe("aborted");
    const ledger = await pipeline.ledger();
    expect(ledger.accepted).toBeGreaterThanOrEqual(20);
    expect(ledger.accepted).toBeGreaterThanOrEqual(error.details.accepted);
  });

  it("rejects when the source breaks", async () => {
    const { pipeline } = buildRooms(store);
    const broken = (async function* () {
      yield good;
      throw new Error("the disk is gone");
    })();
    await expect(pipeline.importFeedback(broken)).rejects.toThrow("the disk is gone");
  });
});
