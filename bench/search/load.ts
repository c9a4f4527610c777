/** Fills a database with documents for the contenders. Run by bench.ts. */
import { DatasetManager } from "../../src/datasets/index.js";
import { LexicalEmbedder } from "../../src/embedders/index.js";
import { openStore } from "../../src/store/index.js";
import { documents } from "./corpus.ts";

const [place, size] = process.argv.slice(2) as [string, string];
const store = await openStore({ database: place.startsWith("postgres") ? place : { dataDir: place } });
try {
  const started = performance.now();
  const datasets = new DatasetManager({ store, embedder: new LexicalEmbedder() });
  const { added } = await datasets.addDocuments(documents(Number(size)));
  process.stdout.write(`loaded ${added} documents in ${Math.round((performance.now() - started) / 1000)} s\n`);
} finally {
  await store.close();
}
