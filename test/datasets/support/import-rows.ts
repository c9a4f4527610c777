/**
 * Imports generated rows into a database of its own: `import-rows.ts ROWS [DATABASE_URL]` (embedded without a URL). Prints one JSON line: rows, seconds, and the
 * largest resident set in MiB.
 *
 *   node --import ./scripts/ts-hooks.mjs test/datasets/support/import-rows.ts 1000000
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toExportRow } from "../../../src/datasets/export/export-row.js";
import { DatasetManager } from "../../../src/datasets/index.js";
import { openStore } from "../../../src/store/index.js";
import { generatedItem } from "./generated-item.js";

const [count = "1000", url] = process.argv.slice(2);
const rows = Number(count);
const folder = await mkdtemp(join(tmpdir(), "clara-import-rows-"));
const store = await openStore({ database: url ?? { dataDir: join(folder, "state") } });

async function* lines() {
  for (let index = 0; index < rows; index += 1) yield Buffer.from(`${JSON.stringify(toExportRow(generatedItem(index), false))}\n`);
}

const started = performance.now();
const { dataset, accepted } = await new DatasetManager({ store }).import(lines(), { format: "jsonl", name: "generated" });
const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
const maxRssMiB = Math.round(process.resourceUsage().maxRSS / 1024);
process.stdout.write(`${JSON.stringify({ rows: accepted, samples: dataset.statistics.samples, seconds, maxRssMiB })}\n`);
await store.close();
await rm(folder, { recursive: true, force: true });
