import { expect, it } from "vitest";
import { runTs } from "../setup/index.js";

/** A heap of 192 MiB ends a process that keeps rows; what it keeps in buffers is seen in its resident set. */
const HEAP = { NODE_OPTIONS: "--max-old-space-size=192" };

it.each(["jsonl", "csv", "parquet"])("a million rows are exported in %s in bounded memory", async (format) => {
  const run = runTs(new URL("./support/export-rows.ts", import.meta.url), [format, "1000000"], HEAP);
  const { rows, bytes, maxRssMiB } = JSON.parse(await run.nextLine());
  expect({ rows, isLarge: bytes > 50_000_000 }).toEqual({ rows: 1_000_000, isLarge: true });
  expect(maxRssMiB).toBeLessThan(500);
});
