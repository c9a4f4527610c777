import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { execa } from "execa";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ByteSource } from "../../src/datasets/import/byte-source.js";
import type { ImportFormat } from "../../src/datasets/import/import-options.js";
import { readSource } from "../../src/datasets/import/read-source.js";
import { parseStrictJson } from "../../src/datasets/import/strict-json.js";
import { DatasetManager } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import type { DatasetItem, Sample } from "../../src/types/index.js";
import { createHarness, pythonWithPyarrow } from "../setup/index.js";

const harness = createHarness("embedded");
let store: Store;
let datasets: DatasetManager;
let folder: string;
beforeAll(async () => {
  store = await harness.open();
  datasets = new DatasetManager({ store });
  folder = await mkdtemp(join(tmpdir(), "clara-import-"));
});
afterAll(async () => {
  await harness.reset();
  await rm(folder, { recursive: true, force: true });
});

/** Every record of a source as its codes, or `ok`. */
async function codesOf(source: string | Uint8Array | Uint8Array[], format: ImportFormat, maxRowBytes = 4096): Promise<string[]> {
  const chunks = Array.isArray(source) ? source : [Buffer.from(source)];
  const codes: string[] = [];
  for await (const { readings, row, line } of readSource(new ByteSource(chunks), { format, maxRowBytes, timeoutMs: 5_000 })) {
    for (const reading of readings) codes.push(`${line ?? row} ${"problem" in reading ? reading.problem.code : "ok"}`);
  }
  return codes;
}

const good = JSON.stringify({ prompt: "Wo?", response: "Hier." });

describe("JSON (A22)", () => {
  it("costs one line where one line is broken", async () => {
    const lines = [
      good,
      "{broken",
      '{"prompt":"a","response":"b","prompt":"c"}',
      '{"__proto__":{"isAdmin":true},"prompt":"a","response":"b"}',
      `{"prompt":"a","response":"b","metadata":${"[".repeat(100_000)}${"]".repeat(100_000)}}`.slice(0, 4000),
      JSON.stringify({ prompt: "a", response: "x".repeat(5000) }),
      "",
      "42",
      good,
      '{"prompt":"a","response":7}',
      '{"prompt":"a","response":"b","rating":1e999}',
      good,
    ];
    expect(await codesOf(lines.join("\n"), "jsonl")).toEqual([
      "1 ok",
      "2 invalid_json",
      "3 duplicate_key",
      "4 forbidden_key",
      "5 json_too_deep",
      "6 line_too_long",
      "8 shape_unknown",
      "9 ok",
      "10 row_invalid",
      "11 row_invalid",
      "12 ok",
    ]);
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
  });

  it("of a hundred thousand levels is answered at once, in an array too", async () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    expect(await codesOf(`[${deep},${good}]`, "jsonl", 1_000_000)).toEqual(["1 json_too_deep", "1 ok"]);
    expect(await codesOf(`${`{"a":`.repeat(100_000)}1${"}".repeat(100_000)}\n${good}`, "jsonl", 1_000_000)).toEqual([
      "1 json_too_deep",
      "2 ok",
    ]);
  });

  it("in an array costs the broken element, and says where the array ends too early", async () => {
    const array = `\uFEFF [\n${good},\n{"prompt": nonsense},\n{"prompt":"[{\\"","response":"]}"},\n"${"x".repeat(5000)}",\n${good}`;
    expect(await codesOf(`${array}\n]`, "jsonl")).toEqual(["2 ok", "3 invalid_json", "4 ok", "5 line_too_long", "6 ok"]);
    expect((await codesOf(array, "jsonl")).at(-1)).toBe("6 invalid_json");
    expect((await codesOf(`[${good}] trailing`, "jsonl")).at(-1)).toBe("1 invalid_json");
    expect(await codesOf("[]", "jsonl")).toEqual([]);
  });

  it("is read the same however its bytes are cut", async () => {
    const text = `[${good}, {"prompt":"Grüße 🙂","response":"\\u00fc\\"]"},\n {"bad"} ,${good}]`;
    const expected = await codesOf(text, "jsonl");
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: Buffer.byteLength(text) }), { maxLength: 8 }), async (cuts) => {
        const bytes = Buffer.from(text);
        const places = [0, ...cuts.sort((left, right) => left - right), bytes.length];
        const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index]!, end));
        expect(await codesOf(chunks, "jsonl")).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  it("is parsed as JSON.parse does wherever it is accepted", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        const parsed = parseStrictJson(text);
        if ("value" in parsed) expect(parsed.value).toEqual(JSON.parse(text));
        else expect(parsed.code).toBe("forbidden_key");
      }),
    );
  });
});

describe("CSV (A22)", () => {
  const header = "prompt,response\r\n";

  it("costs one record where one is broken, and keeps the numbers of its lines", async () => {
    const records = [
      'Wo?,"Hier,\nim ""Hof"""',
      "nur eine",
      'Wo?,"Hier" da',
      "Wo?,Hier",
      `Wo?,${"x".repeat(5000)}`,
      'Wo?,ein 5" Rohr',
      "",
      "Wo?,Hier",
    ];
    expect(await codesOf(`${header}${records.join("\r\n")}\r\n`, "csv")).toEqual([
      "2 ok",
      "4 wrong_column_count",
      "5 invalid_csv",
      "6 ok",
      "7 line_too_long",
      "8 invalid_csv",
      "10 ok",
    ]);
  });

  it("with a quote that is never closed is still read behind the bound", async () => {
    const rest = Array.from({ length: 400 }, (_, index) => `Frage ${index},Antwort`);
    const codes = await codesOf(`${header}Wo?,"Hier\r\n${rest.join("\r\n")}`, "csv");
    expect(codes[0]).toBe("2 line_too_long");
    expect(codes.filter((code) => code.endsWith(" ok")).length).toBeGreaterThan(150);
  });

  it("may use semicolons or tabs, a byte order mark and any order of columns", async () => {
    expect(await codesOf("\uFEFFresponse;id;prompt\nHier;1;Wo?\n", "csv")).toEqual(["2 ok"]);
    const quoted = Buffer.from('\uFEFF"prompt","response"\n"Wo?","Hier, oben"\n');
    for (const size of [1, 2, 3, 100]) {
      const pieces = Array.from({ length: Math.ceil(quoted.length / size) }, (_, at) => quoted.subarray(at * size, (at + 1) * size));
      expect(await codesOf(pieces, "csv")).toEqual(["2 ok"]);
    }
    expect(await codesOf("response\tprompt\nHier\tWo?\n", "csv")).toEqual(["2 ok"]);
    expect(await codesOf("question,answer\nWo?,Hier\n", "csv")).toEqual(["2 shape_unknown"]);
  });

  it("with bytes that are no UTF-8 costs that record", async () => {
    const bytes = Buffer.concat([Buffer.from(`${header}Wo?,Hier\r\nWo?,`), Buffer.from([0xff, 0xfe]), Buffer.from("\r\nWo?,Hier\r\n")]);
    expect(await codesOf(bytes, "csv")).toEqual(["2 ok", "3 invalid_utf8", "4 ok"]);
    expect(await codesOf(Buffer.concat([Buffer.from(`${good}\n`), Buffer.from([0xff, 0x0a])]), "jsonl")).toEqual([
      "1 ok",
      "2 invalid_utf8",
    ]);
  });
});

const item = (id: string, changes: Partial<Sample> = {}): DatasetItem => ({
  sample: {
    ...{ id, prompt: "Wo?", response: "Hier.", objective: "imitate" as const, rating: 1, importance: 3 },
    ...{ domain: "recht", source: "test", qualityScore: 0.5 },
    ...changes,
  },
  split: "train",
  group: id,
});

async function parquetOf(items: DatasetItem[], name: string): Promise<Buffer> {
  const { id } = await datasets.create({ name, items });
  const chunks: Uint8Array[] = [];
  for await (const chunk of await datasets.export(id, { format: "parquet" })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("Parquet (A22)", () => {
  it("that is no Parquet is refused as a whole", async () => {
    for (const bytes of [
      Buffer.from("PAR1"),
      Buffer.from("not parquet at all"),
      Buffer.alloc(0),
      gzipSync("x"),
      Buffer.from("PAR1____\xff\xff\xff\x7fPAR1", "latin1"),
    ]) {
      await expect(datasets.import([bytes], { format: "parquet", name: "no parquet" })).rejects.toMatchObject({ code: "input_invalid" });
    }
  });

  it("that is damaged anywhere is a typed error or a coded row, never anything else", async () => {
    const bytes = await parquetOf(
      Array.from({ length: 20 }, (_, index) => item(`s${index}`)),
      "damaged",
    );
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 }), async (place, value) => {
        const damaged = Buffer.from(bytes);
        damaged[place] = value;
        const result = await codesOf(damaged, "parquet").catch((error: { code: string }) => error.code);
        if (typeof result === "string") expect(result).toBe("input_invalid");
      }),
      { numRuns: 40 },
    );
  }, 240_000);

  it("that keeps the decoder too long is given up", async () => {
    const source = new ByteSource([await parquetOf([item("slow")], "slow")]);
    const records = readSource(source, { format: "parquet", maxRowBytes: 4096, timeoutMs: 0 });
    await expect(records.next()).rejects.toMatchObject({
      code: "input_invalid",
      message: expect.stringContaining("not decoded within 0 ms"),
    });
  });

  it("of Arrow is read whatever codec it has, and a bomb is refused by its own figures", async () => {
    const program = `
import sys, pyarrow as pa, pyarrow.parquet as parquet
folder = sys.argv[1]
table = pa.table({"prompt": ["Wo?", "Wann?"], "response": ["Hier.", "Jetzt gleich."], "importance": pa.array([3, 4], pa.int64()), "extra": [b"x", b"y"]})
for codec in ["none", "snappy", "gzip", "brotli", "zstd"]:
    parquet.write_table(table, f"{folder}/{codec}.parquet", compression=codec)
chat = pa.table({"messages": [[{"role": "user", "content": "Wo?"}, {"role": "assistant", "content": "Hier."}]]})
parquet.write_table(chat, f"{folder}/chat.parquet")
bomb = pa.table({"prompt": ["a" * 1_000_000] * 540, "response": ["b"] * 540})
parquet.write_table(bomb, f"{folder}/bomb.parquet", compression="zstd", use_dictionary=False)`;
    await execa(await pythonWithPyarrow(), ["-c", program, folder]);
    for (const codec of ["none", "snappy", "gzip", "brotli", "zstd"]) {
      const { dataset } = await datasets.import(join(folder, `${codec}.parquet`), {
        format: "parquet",
        name: `arrow ${codec}`,
        prepare: false,
      });
      expect(dataset.statistics.samples).toBe(2);
    }
    const chat = await datasets.import(join(folder, "chat.parquet"), { format: "parquet", name: "arrow chat", prepare: false });
    expect(chat).toMatchObject({ rows: 1, accepted: 1 });
    const bomb = datasets.import(join(folder, "bomb.parquet"), { format: "parquet", name: "arrow bomb" });
    await expect(bomb).rejects.toMatchObject({ code: "dataset_empty", details: { reasons: ["row_group_too_large"] } });
  }, 240_000);
});

describe("what is exported comes back with the same content", () => {
  // CSV cannot hold a lone surrogate or U+0000, and neither can a database.
  const text = fc
    .oneof(fc.string({ unit: "grapheme", maxLength: 30 }), fc.stringMatching(/^['=+\-@\t\r\n",; ]{0,6}a?$/), fc.constant("\uFEFF\u2028"))
    .filter((value) => !value.includes("\u0000") && value.isWellFormed());
  const anyItem: fc.Arbitrary<DatasetItem> = fc
    .record({
      id: text,
      prompt: text,
      response: text,
      objective: fc.constantFrom("imitate" as const, "preference" as const),
      rating: fc.double({ min: -1, max: 1, noNaN: true }),
      importance: fc.integer({ min: 1, max: 5 }),
      domain: text,
      source: text,
      qualityScore: fc.double({ min: 0, max: 1, noNaN: true }),
      feedbackId: fc.option(text, { nil: undefined }),
      subjectId: fc.option(text, { nil: undefined }),
      split: fc.constantFrom("train" as const, "recall" as const, "generalisation" as const, "preference" as const),
      group: text,
    })
    .map(({ split, group, feedbackId, subjectId, ...sample }) => ({
      sample: { ...sample, ...(feedbackId === undefined ? {} : { feedbackId }), ...(subjectId === undefined ? {} : { subjectId }) },
      split,
      group,
    }));

  it.each(["jsonl", "csv", "parquet"] as const)("in %s", async (format) => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyItem, { minLength: 1, maxLength: 12 }), async (items) => {
        run += 1;
        const original = await datasets.create({ name: `original ${format} ${run}`, items });
        const stream = await datasets.export(original.id, { format, includeSubjects: true });
        const { dataset, rejected } = await datasets.import(stream, { format, name: `copy ${format} ${run}` });
        expect(rejected).toBe(0);
        expect(dataset.contentHash).toBe(original.contentHash);
        expect(dataset.statistics).toEqual(original.statistics);
        expect(await datasets.diff(original.id, dataset.id)).toMatchObject({ added: 0, removed: 0, changed: 0 });
      }),
      { numRuns: 25 },
    );
  });

  it("and a row that lost its split is named", async () => {
    const lines = [item("a"), item("b")].map(({ sample, ...place }) => JSON.stringify({ ...sample, ...place }));
    const { errors, accepted } = await datasets.import([`${lines[0]}\n${good}\n${lines[1]}\n`], { format: "jsonl", name: "mixed rows" });
    expect({ accepted, errors }).toEqual({
      accepted: 2,
      errors: [{ row: 2, line: 2, code: "split_missing", message: expect.any(String) }],
    });
  });
});

describe("a file in another form", () => {
  const text = '{"prompt":"Wo?","response":"Hier"}\n';
  it.each([
    ["gzip", gzipSync(text)],
    ["UTF-16", Buffer.from(`\uFEFF${text}`, "utf16le")],
    ["ZIP", Buffer.from("PK\u0003\u0004")],
  ])("is named as what it is: %s", async (name, bytes) => {
    await expect(codesOf(bytes, "jsonl")).rejects.toMatchObject({ code: "input_invalid", message: expect.stringContaining(name) });
  });

  it("is named where its header names a column twice, of which one would be lost", async () => {
    await expect(codesOf("prompt,response,response\nWo?,Hier,Dort\n", "csv")).rejects.toMatchObject({ code: "input_invalid" });
  });
});

describe("an import that fails", () => {
  const leftovers = async (): Promise<string[]> => (await readdir(tmpdir())).filter((name) => name.endsWith(".spool"));

  it("makes nothing and leaves nothing behind", async () => {
    const failing = Readable.from(
      (async function* () {
        yield `${good}\n`;
        throw new Error("the network broke");
      })(),
    );
    await expect(datasets.import(failing, { format: "jsonl", name: "broken source", prepare: false })).rejects.toThrow("the network broke");
    const controller = new AbortController();
    const endless = (async function* () {
      for (let index = 0; ; index += 1) {
        if (index === 3) controller.abort();
        yield Buffer.from(`${good}\n`);
      }
    })();
    const aborted = datasets.import(endless, { format: "jsonl", name: "aborted import", prepare: false, signal: controller.signal });
    await expect(aborted).rejects.toMatchObject({ code: "aborted" });
    expect([...(await datasets.list({ name: "broken source" })), ...(await datasets.list({ name: "aborted import" }))]).toEqual([]);
    expect(await leftovers()).toEqual([]);
  });

  it.each([
    ["no file", { source: "no-such-file.jsonl", options: { format: "jsonl", name: "abc" } }, "input_invalid"],
    ["a folder", { source: tmpdir(), options: { format: "jsonl", name: "abc" } }, "input_invalid"],
    ["no source", { source: 5, options: { format: "jsonl", name: "abc" } }, "input_invalid"],
    ["an unknown format", { source: [], options: { format: "xlsx", name: "abc" } }, "input_invalid"],
    ["a bound that is no bound", { source: [], options: { format: "jsonl", name: "abc", maxRowBytes: -1 } }, "input_invalid"],
    ["nothing", { source: [], options: { format: "jsonl", name: "abc" } }, "dataset_empty"],
    ["nothing but junk", { source: ["junk\njunk\n"], options: { format: "openai", name: "abc" } }, "dataset_empty"],
  ])("says so: %s", async (_what, { source, options }, code) => {
    await expect(datasets.import(source as string, options as { format: "jsonl"; name: string })).rejects.toMatchObject({ code });
  });
});
