/**
 * Exports generated rows and throws the bytes away: `export-rows.ts FORMAT ROWS`. Prints one JSON line: rows, bytes, seconds, and the largest resident set in MiB.
 *
 *   node --import ./scripts/ts-hooks.mjs test/datasets/support/export-rows.ts parquet 1000000
 */
import { exportItems, parseExportOptions } from "../../../src/datasets/export/export-dataset.js";
import { generatedItem } from "./generated-item.js";

const [format = "jsonl", count = "1000"] = process.argv.slice(2);
const rows = Number(count);

async function* generated() {
  for (let index = 0; index < rows; index += 1) yield generatedItem(index);
}

const started = performance.now();
let bytes = 0;
const stream = exportItems(generated(), parseExportOptions({ format: format as "jsonl" }), {}) as AsyncIterable<Uint8Array>;
for await (const chunk of stream) bytes += chunk.byteLength;
const seconds = (performance.now() - started) / 1000;
const { maxRSS } = process.resourceUsage();
process.stdout.write(
  `${JSON.stringify({ format, rows, bytes, seconds: Number(seconds.toFixed(1)), maxRssMiB: Math.round(maxRSS / 1024) })}\n`,
);
