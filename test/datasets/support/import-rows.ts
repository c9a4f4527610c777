/**
 * Imports generated rows into a database of its own: `import-rows.ts ROWS (prepared|unprepared) [DATABASE_URL]` (embedded without a URL). Unprepared rows have no
 * splits yet, and every tenth repeats the one before it. Prints one JSON line: rows, seconds, and the largest resident set in MiB.
 *
 *   node --import ./scripts/ts-hooks.mjs test/datasets/support/import-rows.ts 1000000 unprepared
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toExportRow } from "../../../src/datasets/export/export-row.js";
import { DatasetManager } from "../../../src/datasets/index.js";
import { openStore } from "../../../src/store/index.js";
import { generatedItem } from "./generated-item.js";

const [count = "1000", kind = "prepared", url] = process.argv.slice(2);
const rows = Number(count);
const folder = await mkdtemp(join(tmpdir(), "clara-import-rows-"));
const store = await openStore({ database: url ?? { dataDir: join(folder, "state") } });

function lineOf(index: number): unknown {
  if (kind === "prepared") return toExportRow(generatedItem(index), false);
  const { sample } = generatedItem(index % 10 === 9 ? index - 1 : index);
  return { messages: [sample.prompt, sample.response].map((content, turn) => ({ role: turn === 0 ? "user" : "assistant", content })) };
}

async function* lines() {
  for (let index = 0; index < rows; index += 1) yield Buffer.from(`${JSON.stringify(lineOf(index))}\n`);
}

const started = performance.now();
const { dataset, accepted } = await new DatasetManager({ store }).import(lines(), {
  format: kind === "prepared" ? "jsonl" : "openai",
  name: "generated",
});
const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
const maxRssMiB = Math.round(process.resourceUsage().maxRSS / 1024);
process.stdout.write(`${JSON.stringify({ rows: accepted, samples: dataset.statistics.samples, seconds, maxRssMiB })}\n`);
await store.close();
await rm(folder, { recursive: true, force: true });
