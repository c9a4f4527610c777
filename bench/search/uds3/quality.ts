/** nDCG@10 on Cranfield in UDS3's table; prints rows, with a paired bootstrap over the queries. Run by ../bench.ts. */
import { ndcg } from "../../../src/datasets/search/ndcg.js";
import type { Row } from "../../harness.ts";
import { ratioInterval } from "../../statistics.ts";
import { readCranfield } from "../cranfield.ts";
import { CONTENDERS, type ContenderName, openKeywords } from "./keywords.ts";

const [database, data] = process.argv.slice(2) as [string, string];
const { queries } = await readCranfield(data);
const keywords = openKeywords(database);
try {
  const scoresOf = async (name: ContenderName): Promise<number[]> => {
    const scores: number[] = [];
    for (const { queryText, gains } of queries) scores.push(ndcg(await keywords.ask(name, queryText), gains, 10));
    return scores;
  };
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const base = await scoresOf("sql");
  const rows: Row[] = [];
  for (const [name, contender] of Object.entries(CONTENDERS) as [ContenderName, string][]) {
    const scores = name === "sql" ? base : await scoresOf(name);
    rows.push({
      metric: "nDCG@10 on Cranfield",
      contender,
      baseline: CONTENDERS.sql,
      value: mean(scores),
      unit: "",
      ratio: mean(scores) / mean(base),
      ...ratioInterval(scores, base),
      noisy: false,
    });
  }
  process.stdout.write(`${JSON.stringify(rows)}\n`);
} finally {
  await keywords.close();
}
