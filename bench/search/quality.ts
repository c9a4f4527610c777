/**
 * nDCG@10 on Cranfield of each leg, of both fusions as they come, and of tuned settings, which never see the queries that
 * they are judged on (five folds). Prints rows whose ratio is to the best single leg, with a paired bootstrap over the
 * queries. Run by bench.ts.
 */
import { DatasetManager } from "../../src/datasets/index.js";
import { ndcg } from "../../src/datasets/search/ndcg.js";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import { openStore } from "../../src/store/index.js";
import type { SearchQuery, SearchSettings } from "../../src/types/index.js";
import { openMiniLm } from "../embedders/minilm.ts";
import type { Row } from "../harness.ts";
import { ratioInterval } from "../statistics.ts";
import { readCranfield } from "./cranfield.ts";

const FOLDS = 5;
const [database, data, embedderName] = process.argv.slice(2) as [string, string, string];
const { documents, queries } = await readCranfield(data);
const store = await openStore({ database });
const { embedder, close } = embedderName === "minilm" ? await openMiniLm() : { embedder: new LexicalEmbedder(), close: async () => {} };
try {
  const datasets = new DatasetManager({ store, embedder });
  await datasets.addDocuments(documents);
  const score = async (query: (typeof queries)[number], settings: SearchSettings): Promise<number> => {
    const results = await datasets.search({ queryText: query.queryText, topK: 100, ...settings } as SearchQuery);
    return ndcg([...new Set(results.map(({ metadata }) => metadata.documentId as string))], query.gains, 10);
  };
  const scoresOf = async (settings: SearchSettings): Promise<number[]> => {
    const scores: number[] = [];
    for (const query of queries) scores.push(await score(query, settings));
    return scores;
  };
  const scores: Record<string, number[]> = {};
  for (const leg of ["keyword", "vector", "graph"] as const) scores[leg] = await scoresOf({ searchTypes: [leg] });
  scores.weighted = await scoresOf({ fusion: "weighted" });
  scores.rrf = await scoresOf({ fusion: "rrf" });
  const tuned: number[] = [];
  for (let fold = 0; fold < FOLDS; fold++) {
    const judged = queries
      .filter((_, index) => index % FOLDS !== fold)
      .map(({ queryText, gains }) => ({ queryText, relevant: [...gains.keys()] }));
    const { settings } = await datasets.tuneSearch(judged);
    process.stderr.write(`fold ${fold + 1}: ${JSON.stringify(settings)}\n`);
    for (const [index, query] of queries.entries()) if (index % FOLDS === fold) tuned[index] = await score(query, settings);
  }
  scores.tuned = tuned;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const baseline = ["keyword", "vector", "graph"].sort((left, right) => mean(scores[right]!) - mean(scores[left]!))[0] as string;
  const rows: Row[] = Object.entries(scores).map(([contender, values]) => ({
    metric: "nDCG@10 on Cranfield",
    contender,
    baseline,
    value: mean(values),
    unit: "",
    ratio: mean(values) / mean(scores[baseline]!),
    ...ratioInterval(values, scores[baseline]!),
    noisy: false,
  }));
  process.stdout.write(`${JSON.stringify(rows)}\n`);
} finally {
  await close();
  await store.close();
}
