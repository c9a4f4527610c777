import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { execa } from "execa";
import { parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, expect, it } from "vitest";
import { escapeFormula, unescapeFormula } from "../../src/datasets/export/csv.js";
import { writeAtomically } from "../../src/datasets/export/write-atomically.js";
import { DatasetManager } from "../../src/datasets/index.js";
import type { Store } from "../../src/store/index.js";
import type { Dataset, DatasetItem, Sample } from "../../src/types/index.js";
import { describeEachStore, pythonWithPyarrow } from "../setup/index.js";

const texts = [
  'Er sagte: "Nein", dann\nging er; fort, 50 %.',
  '=HYPERLINK("http://evil")',
  "+49 30 1234",
  "-5 Grad",
  "@alle hier",
  "Grüße 🙂 \u2028 Ende",
  "\tEingerückt, mit Tab",
  "Ganz gewöhnlich.",
];
const items: DatasetItem[] = texts.map((text, index) => ({
  sample: {
    id: `s${index}`,
    prompt: `Frage ${index}: ${text}`,
    response: text,
    objective: "imitate",
    rating: index % 2 === 0 ? 1 : -0.5,
    importance: 3,
    domain: "recht",
    source: "test",
    qualityScore: 0.75,
    subjectId: "person-1",
    ...(index === 0 ? { feedbackId: "f0" } : {}),
  } satisfies Sample,
  split: index === 0 ? "recall" : "train",
  group: `g${index}`,
}));
const rows = items.map(({ sample: { subjectId: _, ...sample }, split, group }) => ({ ...sample, split, group }));

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** What a spreadsheet runs, also after another program took one apostrophe away, and texts that have an apostrophe of their own. */
const formulas = [..."=+-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20"].flatMap((start) => [`${start}1+1`, `'${start}1+1`, `''${start}1`, start]);

/** A reader of RFC 4180, apart from the writer under test. */
function parseCsv(text: string): string[][] {
  const records: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    records.at(-1)!.push(quoted === undefined ? plain! : quoted.replaceAll('""', '"'));
    if (end === "\r\n") records.push([]);
    if (end === "") break;
  }
  return records.filter((record) => record.length > 1);
}

describeEachStore("an export", (harness) => {
  let store: Store;
  let datasets: DatasetManager;
  let dataset: Dataset;
  let folder: string;
  beforeAll(async () => {
    store = await harness.open();
    datasets = new DatasetManager({ store });
    dataset = await datasets.create({ name: "exported", items });
    folder = await mkdtemp(join(tmpdir(), "clara-export-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("in JSON lines reads back as the same rows, as a file and as a stream", async () => {
    const path = await datasets.export(dataset.id, { format: "jsonl", path: join(folder, "a.jsonl") });
    expect(isAbsolute(path)).toBe(true);
    const file = await readFile(path, "utf8");
    expect(
      file
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual(rows);
    const stream = await datasets.export(dataset.id, { format: "jsonl" });
    expect((await bytesOf(stream)).toString("utf8")).toBe(file);
    const again = await datasets.create({
      name: "imported",
      samples: file
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
      preparation: { holdout: false },
    });
    expect(again.statistics.samples).toBe(items.length);
  });

  it("names people only when asked to, and one split where asked to", async () => {
    const bytes = await bytesOf(await datasets.export(dataset.id, { format: "jsonl", split: "recall", includeSubjects: true }));
    expect(JSON.parse(bytes.toString())).toEqual({ ...rows[0], subjectId: "person-1" });
  });

  it("in CSV reads back, with formulas made harmless", async () => {
    const path = await datasets.export(dataset.id, { format: "csv", path: join(folder, "a.csv") });
    const [header, ...records] = parseCsv(await readFile(path, "utf8"));
    expect(header?.slice(0, 3)).toEqual(["id", "prompt", "response"]);
    const response = records.map((record) => record[header!.indexOf("response")]!);
    expect(response.map((cell) => cell.replace(/^'/, ""))).toEqual(texts);
    expect(response.some((cell) => /^[=+\-@\t\r]/.test(cell))).toBe(false);
    expect(records.map((record) => Number(record[header!.indexOf("rating")]))).toEqual(items.map((item) => item.sample.rating));
  });

  it("in CSV never gives a spreadsheet a formula, and is unescaped without loss (A22)", () => {
    for (const text of [...formulas, "'s Gravenhage", "'", "", "a=1", ...texts]) {
      expect(escapeFormula(text)).not.toMatch(/^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/);
      expect(unescapeFormula(escapeFormula(text))).toBe(text);
    }
  });

  it("in Parquet reads back, over several row groups", async () => {
    const bytes = await bytesOf(await datasets.export(dataset.id, { format: "parquet" }));
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    const read = await parquetReadObjects({ file: buffer });
    const messages = (row: { prompt: string; response: string }) => [
      { role: "user", content: row.prompt },
      { role: "assistant", content: row.response },
    ];
    const withNulls = rows.map((row) => ({ feedbackId: null, subjectId: null, ...row, messages: messages(row) }));
    expect(read.map((row) => ({ ...row, feedbackId: row.feedbackId ?? null, subjectId: row.subjectId ?? null }))).toEqual(withNulls);
    const large = await datasets.create({
      name: "several groups",
      items: Array.from({ length: 5001 }, (_, index) => ({ ...items[7]!, sample: { ...items[7]!.sample, id: `n${index}` } })),
    });
    const path = await datasets.export(large.id, { format: "parquet", path: join(folder, "large.parquet") });
    const file = await readFile(path);
    const ids = await parquetReadObjects({
      file: file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer,
      columns: ["id"],
    });
    expect(ids.map((row) => row.id)).toEqual(Array.from({ length: 5001 }, (_, index) => `n${index}`));
  });

  it("in Parquet is read by Arrow with real lists and structs", async () => {
    const path = await datasets.export(dataset.id, { format: "parquet", path: join(folder, "arrow.parquet"), includeSubjects: true });
    const program = `
import json, sys, pyarrow.parquet as parquet
table = parquet.read_table(sys.argv[1])
json.dump({"schema": {field.name: str(field.type) for field in table.schema}, "rows": table.to_pylist()}, sys.stdout)`;
    const { stdout } = await execa(await pythonWithPyarrow(), ["-c", program, path]);
    const { schema, rows: read } = JSON.parse(stdout);
    expect(schema).toMatchObject({
      id: "string",
      rating: "double",
      feedbackId: "string",
      messages: expect.stringMatching(/^list<element: struct<role: string.*, content: string/),
    });
    const { prompt, response } = rows[0]!;
    const messages = [
      { role: "user", content: prompt },
      { role: "assistant", content: response },
    ];
    expect(read[0]).toEqual({ ...rows[0], subjectId: "person-1", messages });
    expect(read.map((row: { response: string }) => row.response)).toEqual(texts);
  });

  it("in an unknown format is refused, naming the known ones", async () => {
    const wrong = datasets.export(dataset.id, { format: "xlsx" as "csv" });
    await expect(wrong).rejects.toMatchObject({ code: "input_invalid", message: expect.stringMatching(/"xlsx".*jsonl, csv, parquet/) });
  });

  it("into a folder that is not there says so", async () => {
    const path = join(folder, "missing", "a.jsonl");
    await expect(datasets.export(dataset.id, { format: "jsonl", path })).rejects.toMatchObject({
      code: "input_invalid",
      message: expect.stringContaining(join(folder, "missing")),
    });
  });

  it("that fails or is aborted leaves the old file and no rest", async () => {
    const path = join(folder, "kept.jsonl");
    await writeFile(path, "old");
    async function* failing(): AsyncIterable<Uint8Array> {
      yield new Uint8Array(300_000);
      throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    }
    await expect(writeAtomically(path, failing())).rejects.toMatchObject({ code: "disk_full", isRetryable: true, details: { path } });
    await expect(datasets.export(dataset.id, { format: "jsonl", path }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "aborted",
    });
    expect(await readFile(path, "utf8")).toBe("old");
    expect((await readdir(folder)).filter((name) => name.startsWith("kept"))).toEqual(["kept.jsonl"]);
  });
});
