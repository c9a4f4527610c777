import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sectionsOf } from "../../src/datasets/documents/sections.js";
import { DatasetManager, readDocuments } from "../../src/datasets/index.js";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import type { Store } from "../../src/store/index.js";
import type { DocumentInput, Embedder } from "../../src/types/index.js";
import { describeEachDatabase } from "../setup/index.js";

const read = async (source: AsyncIterable<DocumentInput>) => {
  const documents: DocumentInput[] = [];
  for await (const document of source) documents.push(document);
  return documents;
};

describe("markup", () => {
  it("of Markdown goes, its headings become titles", () => {
    const text =
      "---\nauthor: x\n---\nBefore *all*.\n\n# Guide\n\nHello [there](https://example.org).\n\n## Install `now`\n\n- one\n- two\n\n```sh\nnpm ci\n  indented\n```\n\n# Other\n\nEnd &amp; done.";
    expect(sectionsOf(text, "text/markdown")).toEqual([
      { title: null, text: "Before all." },
      { title: "Guide", text: "Hello there." },
      { title: "Guide › Install now", text: "one\ntwo\n\nnpm ci\n  indented" },
      { title: "Other", text: "End & done." },
    ]);
  });

  it("of HTML goes, with scripts and styles, and words stay apart", () => {
    const html =
      "<html><head><title>T</title><style>p{}</style></head><body><h2>Frist &uuml;ber <b>Widerspruch</b></h2><p>Einen Monat,\n  nicht<br>l&auml;nger.<script>alert('x')</script></p><table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table><h3>Form</h3>Schriftlich.</body>";
    expect(sectionsOf(html, "text/html")).toEqual([
      { title: "Frist über Widerspruch", text: "Einen Monat, nicht\nlänger.\n\na b\nc" },
      { title: "Frist über Widerspruch › Form", text: "Schriftlich." },
    ]);
  });

  it("of any kind is read without failing, and leaves no tag that was one", () => {
    const piece = fc.constantFrom(
      "<h1>",
      "</h1>",
      "<p",
      ">",
      "</p>",
      "<script>",
      "</script>",
      "<pre>",
      "&",
      "# ",
      "\n",
      "text",
      "```",
      "<!--",
      "-->",
      "<b>",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.constantFrom("text/html" as const, "text/markdown" as const), (parts, type) => {
        for (const section of sectionsOf(parts.join(""), type)!) {
          expect(section.text.trim()).toBe(section.text);
          if (type === "text/html") expect(section.text).not.toMatch(/<\/?(?:h1|b)>/);
        }
      }),
    );
  });
});

describe("markup that is a bomb (A22, A25)", () => {
  const bombs = [
    ["elements within elements", "<div>".repeat(200_000), "text/html"],
    ["quotes within quotes", "> ".repeat(100_000), "text/markdown"],
    ["lists within lists", "- ".repeat(100_000), "text/markdown"],
    ["lists indented ever further", Array.from({ length: 1_000 }, (_, depth) => `${"  ".repeat(depth)}- \n`).join(""), "text/markdown"],
  ] as const;

  it.each(bombs)("of %s is refused within a second or two of CPU", (_what, markup, type) => {
    const before = process.cpuUsage();
    expect(sectionsOf(`${markup}Text`, type)).toBeNull();
    expect(process.cpuUsage(before).user).toBeLessThan(5_000_000);
  });

  it("is none where it is long only: a page of 50,000 paragraphs takes a second or two of CPU", () => {
    const before = process.cpuUsage();
    const [section] = sectionsOf("<p>Der Antrag wird im Amt gestellt.</p>\n".repeat(50_000), "text/html")!;
    expect(process.cpuUsage(before).user).toBeLessThan(3_000_000);
    expect(section!.text.match(/Antrag/gu)).toHaveLength(50_000);
  });

  it("is read as far as people nest, and however often elements stand beside one another", () => {
    const nested = `${"<div>".repeat(500)}Text${"</div>".repeat(500)}`;
    expect(sectionsOf(nested.repeat(3), "text/html")).toHaveLength(1);
    expect(sectionsOf("<p>Text<br>".repeat(20_000), "text/html")).toHaveLength(1);
    expect(sectionsOf(`${"> ".repeat(50)}Text`, "text/markdown")).toEqual([{ title: null, text: "Text" }]);
    expect(sectionsOf(`${"* ".repeat(50)}* *\n\nText`, "text/markdown")).not.toBeNull();
  });
});

describe("documents of a stream", () => {
  it("come the same however its bytes are cut", async () => {
    const lines = [{ content: "Gebühr für Müll 🗑" }, { content: "zwei", title: "B" }];
    const bytes = Buffer.from(`\uFEFF${lines.map((line) => JSON.stringify(line)).join("\r\n")}\n\n`);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: bytes.length }), async (size) => {
        async function* pieces() {
          for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
        }
        const documents = await read(readDocuments(pieces(), { contentType: "application/jsonl", defaults: { domain: "stadt" } }));
        expect(documents).toEqual(lines.map((line) => ({ domain: "stadt", ...line })));
      }),
    );
  });

  it("that are endless end at the length of one document", async () => {
    let pieces = 0;
    async function* endless() {
      for (;;) {
        pieces += 1;
        yield "x".repeat(100_000);
      }
    }
    const [document] = await read(readDocuments(endless(), { contentType: "text/plain" }));
    expect(document!.content.length).toBeGreaterThan(2_000_000);
    expect(pieces).toBe(21);
  });

  it("of an unknown format, or of a file that is not there, are refused", async () => {
    await expect(read(readDocuments("scan.pdf"))).rejects.toMatchObject({ code: "input_invalid", details: { field: "contentType" } });
    await expect(read(readDocuments("missing.md"))).rejects.toMatchObject({ code: "input_invalid", details: { field: "source" } });
  });
});

describeEachDatabase("documents by stream", (harness) => {
  let store: Store;
  let folder: string;
  let datasets: DatasetManager;
  beforeAll(async () => {
    store = await harness.open();
    folder = await mkdtemp(join(tmpdir(), "clara-documents-"));
    datasets = new DatasetManager({ store, embedder: new LexicalEmbedder() });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("are read by their extension, found by their headings and named by their file", async () => {
    await writeFile(join(folder, "guide.md"), "# Heizung\n\n## Wartung\n\nDer Kessel wird jedes Jahr geprüft, und zwar im Herbst.\n");
    await writeFile(join(folder, "page.html"), "<h1>Fahrräder</h1><p>Der Keller ist für alle Räder des Hauses da, auch für große.</p>");
    for (const name of ["guide.md", "page.html"]) {
      expect(await datasets.addDocuments(readDocuments(join(folder, name)))).toEqual({ added: 1, skipped: 0, rejected: [] });
    }
    const [found] = await datasets.search({ queryText: "Wartung der Heizung", topK: 1 });
    expect(found).toMatchObject({
      source: "guide.md",
      content: "Der Kessel wird jedes Jahr geprüft, und zwar im Herbst.",
      metadata: { title: "Heizung › Wartung" },
    });
  });

  it("that break in the middle are added to the end by the same stream again", async () => {
    const lines = Array.from({ length: 150 }, (_, index) =>
      JSON.stringify({ id: `line${index}`, content: `Zeile ${index} handelt von der Abholung der Tonne im Bezirk ${index}.` }),
    );
    lines[70] = "{ broken";
    const file = join(folder, "lines.jsonl");
    await writeFile(file, lines.join("\n"));
    async function* breaking() {
      let count = 0;
      for await (const document of readDocuments(file)) {
        count += 1;
        if (count > 100) throw new Error("the machine went away");
        yield document;
      }
    }
    await expect(datasets.addDocuments(breaking())).rejects.toThrow("the machine went away");
    const before = (await datasets.corpusStatistics()).documents;
    let embedded = 0;
    const counting: Embedder = {
      ...new LexicalEmbedder(),
      name: new LexicalEmbedder().name,
      dimensions: 512,
      embed: (texts) => {
        embedded += texts.length;
        return new LexicalEmbedder().embed(texts);
      },
    };
    const progress: number[] = [];
    const again = new DatasetManager({ store, embedder: counting });
    const result = await again.addDocuments(readDocuments(file), { onProgress: ({ received }) => progress.push(received) });
    expect(result).toEqual({ added: 85, skipped: 64, rejected: [{ index: 70, reason: "invalid: line 71 is not a JSON object" }] });
    expect((await datasets.corpusStatistics()).documents).toBe(before + 85);
    expect(embedded).toBe(85);
    expect(progress.at(-1)).toBe(150);
    expect(progress.length).toBeGreaterThan(2);
  });

  it("are embedded anew after a break from where it was, with progress", async () => {
    const { chunks } = await datasets.corpusStatistics();
    let calls = 0;
    const embedder: Embedder = {
      name: "short-lived",
      dimensions: 2,
      embed: async (texts) => {
        calls += 1;
        if (calls === 3) throw new Error("the embedder went away");
        return texts.map((text) => [1, text.length]);
      },
    };
    const other = new DatasetManager({ store, embedder });
    await expect(other.reembed()).rejects.toThrow("the embedder went away");
    const seen: { received: number; total?: number }[] = [];
    expect(await other.reembed({ onProgress: ({ received, total }) => seen.push({ received, total }) })).toEqual({
      embedded: chunks - 128,
    });
    expect(seen).toEqual([{ received: chunks - 128, total: chunks - 128 }]);
    expect((await other.corpusStatistics()).chunksByEmbedder).toEqual({ "short-lived": chunks });
    expect(await other.search({ queryText: "Tonne", topK: 3 })).toHaveLength(3);
  });
});
