import { expect, it } from "vitest";
import { createDatabase, runTs } from "../setup/index.js";

/** A heap of 192 MiB ends a process that keeps rows; what it keeps in buffers is seen in its resident set. */
const HEAP = { NODE_OPTIONS: "--max-old-space-size=192" };
/** A loaded machine may take its time. */
const TIMEOUT_MS = 300_000;

// Parquet and the database take most of the time: here a part, and the whole by `npm run export:million` and `npm run import:million`.
it.each([
  ["jsonl", 1_000_000],
  ["csv", 1_000_000],
  ["parquet", 250_000],
])(
  "a million rows are exported in %s in bounded memory (here %i)",
  async (format, count) => {
    const run = runTs(new URL("./support/export-rows.ts", import.meta.url), [format, String(count)], HEAP);
    const { rows, bytes, maxRssMiB } = JSON.parse(await run.nextLine());
    expect({ rows, isLarge: bytes > 20_000_000 }).toEqual({ rows: count, isLarge: true });
    expect(maxRssMiB).toBeLessThan(500);
  },
  TIMEOUT_MS,
);

it.each([
  ["prepared", 100_000],
  ["unprepared", 90_000],
])(
  "a million %s rows are imported within the same bound (here a hundred thousand)",
  async (kind, kept) => {
    const { url, drop } = await createDatabase();
    const run = runTs(new URL("./support/import-rows.ts", import.meta.url), ["100000", kind, url], HEAP);
    const { rows, samples, maxRssMiB } = JSON.parse(await run.nextLine());
    expect({ rows, samples }).toEqual({ rows: 100_000, samples: kept });
    expect(maxRssMiB).toBeLessThan(500);
    await run.ended;
    await drop();
  },
  TIMEOUT_MS,
);
