/** One contender of the router's speed bench: decides with the embedding given, and prints its CPU time. Run by bench.ts. */
import { LexicalEmbedder } from "../../src/embedders/index.js";
import { AdapterRouter, MemoryAdapterRegistry } from "../../src/router/index.js";
import { TableBuilder } from "../../src/router/table-builder.js";
import { dot, normalised, sumOf } from "../../src/router/unit-vectors.js";
import type { Adapter } from "../../src/types/adapter.js";
import { median } from "../statistics.ts";
import { drawAdapters, pick } from "./drawn-adapters.ts";

const EXAMPLES = 10;
const QUESTIONS = 256;
const WARM_UP_MS = 1_000;
const BATCHES = 200;
/** Length of a batch, against the clock's grain. */
const BATCH_MICROSECONDS = 5_000;

interface Question {
  text: string;
  vector: number[];
}

type Decide = (question: Question) => unknown;

async function oneCentroid(adapters: readonly Adapter[], embedder: LexicalEmbedder): Promise<Decide> {
  const centroids: Float32Array[] = [];
  for (const { examples } of adapters) centroids.push(normalised(sumOf(await embedder.embed(examples), embedder.dimensions)));
  return ({ vector }) => {
    const query = normalised(vector);
    let best = 0;
    let bestSimilarity = Number.NEGATIVE_INFINITY;
    for (const [index, centroid] of centroids.entries()) {
      const similarity = dot(centroid, query);
      if (similarity > bestSimilarity) [best, bestSimilarity] = [index, similarity];
    }
    return { adapterId: adapters[best]!.id, similarity: bestSimilarity };
  };
}

async function ranking(adapters: readonly Adapter[], embedder: LexicalEmbedder): Promise<Decide> {
  const table = await new TableBuilder(embedder).build(adapters);
  return ({ text, vector }) => table.rank(text, vector)[0];
}

async function route(adapters: readonly Adapter[], embedder: LexicalEmbedder, settings = {}): Promise<Decide> {
  const registry = new MemoryAdapterRegistry();
  for (const { name, domain, examples } of adapters) {
    const { id } = await registry.register({ name, domain, path: `adapters/${name}`, baseModel: "none", examples });
    await registry.activate(id);
  }
  const given = new Map<string, number[]>();
  const router = new AdapterRouter({
    registry,
    settings,
    refreshIntervalMs: 0,
    embedder: {
      name: "given",
      dimensions: embedder.dimensions,
      embed: async (texts, options) => (given.has(texts[0]!) ? [given.get(texts[0]!)!] : embedder.embed(texts, options)),
    },
  });
  await router.refresh();
  for (const { text, vector } of questions) given.set(text, vector);
  return ({ text }) => router.route(text);
}

const exploring = { enableExploration: true, thresholds: { confLow: 0, confHigh: 1 } };
const contenders: Record<string, (adapters: readonly Adapter[], embedder: LexicalEmbedder) => Promise<Decide>> = {
  "one centroid": oneCentroid,
  ranking,
  route,
  "route, exploring": (adapters, embedder) => route(adapters, embedder, exploring),
};
const [name, count] = process.argv.slice(2) as [string, string];
const embedder = new LexicalEmbedder();
const adapters = drawAdapters(Number(count), EXAMPLES);
const texts = Array.from({ length: QUESTIONS }, () => pick(pick(adapters).examples).replace("the", "this"));
const vectors = await embedder.embed(texts);
const questions = texts.map((text, index): Question => ({ text, vector: vectors[index]! }));
const open = contenders[name];
if (!open) throw new Error(`no contender named ${name}`);
const decide = await open(adapters, embedder);

let asked = 0;
/** CPU of a decision, which other programs on the machine disturb less than its wall time. */
async function batch(size: number): Promise<number> {
  const before = process.cpuUsage();
  for (let index = 0; index < size; index++) {
    const decision = decide(questions[asked++ % QUESTIONS]!);
    if (decision instanceof Promise) await decision;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / size;
}

let size = 1;
for (const until = performance.now() + WARM_UP_MS; performance.now() < until; ) {
  size = Math.max(1, Math.ceil(BATCH_MICROSECONDS / Math.max(1, await batch(size))));
}
const perDecision: number[] = [];
for (let index = 0; index < BATCHES; index++) perDecision.push(await batch(size));
process.stdout.write(`${JSON.stringify({ cpuMicroseconds: median(perDecision) })}\n`);
