import { expect, it } from "vitest";
import { createDatabase, runTs } from "../setup/index.js";

/** A heap of 192 MiB ends a process that keeps rows; what it keeps in buffers is seen in its resident set. */
const HEAP = { NODE_OPTIONS: "--max-old-space-size=192" };

it.each(["jsonl", "csv", "parquet"])("a million rows are exported in %s in bounded memory", async (format) => {
  const run = runTs(new URL("./support/export-rows.ts", import.meta.url), [format, "1000000"], HEAP);
  const { rows, bytes, maxRssMiB } = JSON.parse(await run.nextLine());
  expect({ rows, isLarge: bytes > 50_000_000 }).toEqual({ rows: 1_000_000, isLarge: true });
  expect(maxRssMiB).toBeLessThan(500);
});

// The database takes most of the time; `npm run import:million` does the million.
it("a hundred thousand rows are imported within the same bound", async () => {
  const { url, drop } = await createDatabase();
  const run = runTs(new URL("./support/import-rows.ts", import.meta.url), ["100000", url], HEAP);
  const { rows, samples, maxRssMiB } = JSON.parse(await run.nextLine());
  expect({ rows, samples }).toEqual({ rows: 100_000, samples: 100_000 });
  expect(maxRssMiB).toBeLessThan(500);
  await run.ended;
  await drop();
});
