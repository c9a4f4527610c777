/**
 * npm run bench -- NAME [--rounds N] [--json FILE] [--picture] [--data DIR] [--flips N] [--sizes N,N] [--embedder NAME] [--uds3]
 *
 * NAME: feedback, router, training, client, activation, search. Prints a table of medians and ratios; `--json` writes the rows, `--picture`
 * writes docs/benchmarks/NAME.svg; `--data` is the folder of data sets that are not part of the package; `--flips` is how often activation
 * changes the version in each run (default 100); `--sizes` are numbers of documents for search (default 10000; 0 for none);
 * `--embedder` is what makes the vectors where search and router judge quality: lexical (default), or minilm, which is taken from a Python
 * package and served by the bundled runtime; `--uds3` has search measure the keyword leg on UDS3's table instead of the store.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { type Bench, type BenchOptions, measure } from "./harness.ts";
import { picture } from "./picture.ts";

const benches: Record<string, () => Promise<{ open(options: BenchOptions): Promise<Bench> }>> = {
  feedback: () => import("./feedback/bench.ts"),
  router: () => import("./router/bench.ts"),
  training: () => import("./training/bench.ts"),
  client: () => import("./client/bench.ts"),
  activation: () => import("./activation/bench.ts"),
  search: () => import("./search/bench.ts"),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "7" },
    json: { type: "string" },
    picture: { type: "boolean", default: false },
    data: { type: "string" },
    flips: { type: "string", default: "100" },
    sizes: { type: "string", default: "10000" },
    embedder: { type: "string", default: "lexical" },
    uds3: { type: "boolean", default: false },
  },
});
const name = positionals[0] ?? "";
const load = benches[name];
const { embedder } = values;
if (
  !load ||
  (embedder !== "lexical" && embedder !== "minilm") ||
  ![values.rounds, values.flips].every((count) => /^[1-9]\d*$/.test(count))
) {
  const options = "[--rounds N] [--json FILE] [--picture] [--data DIR] [--flips N] [--sizes N,N] [--embedder lexical|minilm] [--uds3]";
  process.stderr.write(`usage: npm run bench -- ${Object.keys(benches).join("|")} ${options}\n`);
  process.exit(2);
}

const sizes = values.sizes
  .split(",")
  .map(Number)
  .filter((size) => size > 0);
const bench = await (await load()).open({ data: values.data, flips: Number(values.flips), sizes, embedder, uds3: values.uds3 });
try {
  const result = await measure(bench, Number(values.rounds), (text) => process.stderr.write(`${text}\n`));
  const table = new Table({ head: ["metric", "contender", "median", "ratio to baseline", "95 % interval"] });
  for (const row of result.rows) {
    table.push([
      row.metric,
      row.contender,
      `${row.value.toPrecision(4)} ${row.unit}`,
      row.ratio.toFixed(2),
      `${row.low.toFixed(2)} – ${row.high.toFixed(2)}${row.noisy ? " NOISY" : ""}`,
    ]);
  }
  process.stdout.write(`${table.toString()}\n`);
  if (result.noisy) process.stdout.write("NOISY: there the baseline against itself left [0.93, 1.07]; those rows claim nothing.\n");
  if (values.json) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  if (values.picture) {
    const folder = fileURLToPath(new URL("../docs/benchmarks/", import.meta.url));
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}${bench.name}.svg`, picture(result));
  }
} finally {
  await bench.close();
}
