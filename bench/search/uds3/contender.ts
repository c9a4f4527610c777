/** One contender on UDS3's table: asks the same queries and prints what they took. Run by ../bench.ts. */
import { median } from "../../statistics.ts";
import { queries } from "../corpus.ts";
import { readCranfield } from "../cranfield.ts";
import { type ContenderName, openKeywords } from "./keywords.ts";

const WARM_UP = 20;
const QUERIES = 100;

const [name, database, source] = process.argv.slice(2) as [ContenderName, string, string];
const all = /^\d+$/.test(source)
  ? queries(WARM_UP + QUERIES)
  : (await readCranfield(source)).queries.slice(0, WARM_UP + QUERIES).map(({ queryText }) => queryText);
const keywords = openKeywords(database);
try {
  for (const queryText of all.slice(0, WARM_UP)) await keywords.ask(name, queryText);
  const latencies: number[] = [];
  for (const queryText of all.slice(WARM_UP)) {
    const started = performance.now();
    await keywords.ask(name, queryText);
    latencies.push(performance.now() - started);
  }
  latencies.sort((a, b) => a - b);
  process.stdout.write(`${JSON.stringify({ p95Ms: latencies[Math.ceil(latencies.length * 0.95) - 1], p50Ms: median(latencies) })}\n`);
} finally {
  await keywords.close();
}
