/** One contender of the router's quality bench on CLINC150; prints accuracies, AUROCs and calibration errors. Run by bench.ts. */
import { LexicalEmbedder } from "../../src/embedders/index.js";
import { expectedCalibrationError } from "../../src/router/calibrated-choice.js";
import { AdapterRouter, MemoryAdapterRegistry } from "../../src/router/index.js";
import { dot, normalised, sumOf } from "../../src/router/unit-vectors.js";
import type { Embedder } from "../../src/types/index.js";
import { readVectors } from "../embedders/saved-vectors.ts";
import { drawTasks, type Task } from "./clinc150.ts";
import { LogisticRegression } from "./logistic-regression.ts";

/** The most likely domain of a text and how sure the contender is, 0..1. */
interface Guess {
  domain: string | null;
  confidence: number;
}

const [name, folder, vectors] = process.argv.slice(2) as [string, string, string?];
const embedder: Embedder = vectors === undefined ? new LexicalEmbedder() : readVectors(vectors);

type Contender = (examples: Task["examples"]) => Promise<(text: string) => Promise<Guess>>;

async function clara(examples: Task["examples"]): Promise<(text: string) => Promise<Guess>> {
  const registry = new MemoryAdapterRegistry();
  const router = new AdapterRouter({ registry, embedder, refreshIntervalMs: 0 });
  for (const [domain, texts] of examples) {
    const { id } = await registry.register({ name: domain, domain, path: `adapters/${domain}`, baseModel: "none", examples: texts });
    await registry.activate(id);
  }
  return async (text) => {
    const { candidates, confidence } = await router.route(text);
    return { domain: candidates[0]?.adapterId.replace(/@v1$/, "") ?? null, confidence };
  };
}

async function oneCentroid(examples: Task["examples"]): Promise<(text: string) => Promise<Guess>> {
  const centroids: { domain: string; vector: Float32Array }[] = [];
  for (const [domain, texts] of examples) {
    centroids.push({ domain, vector: normalised(sumOf(await embedder.embed(texts), embedder.dimensions)) });
  }
  return async (text) => {
    const [vector] = await embedder.embed([text]);
    const similarities = centroids.map((centroid) => dot(centroid.vector, vector!));
    const confidence = Math.max(...similarities);
    return { domain: centroids[similarities.indexOf(confidence)]!.domain, confidence: Math.max(0, confidence) };
  };
}

async function tfIdf(examples: Task["examples"]): Promise<(text: string) => Promise<Guess>> {
  const domains = [...examples.keys()];
  const rows = domains.flatMap((domain, label) => examples.get(domain)!.map((text) => ({ text, label })));
  const model = new LogisticRegression(
    rows.map(({ text }) => text),
    rows.map(({ label }) => label),
    domains.length,
  );
  return async (text) => {
    const probabilities = model.probabilities(text);
    const confidence = Math.max(...probabilities);
    return { domain: domains[probabilities.indexOf(confidence)]!, confidence };
  };
}

/** Chance that a question in scope gets a higher confidence than one out of scope; ties count half. */
function auroc(inScope: readonly number[], outOfScope: readonly number[]): number {
  const all = [...inScope.map((value) => ({ value, isIn: true })), ...outOfScope.map((value) => ({ value, isIn: false }))];
  all.sort((left, right) => left.value - right.value);
  let rankSum = 0;
  for (let from = 0; from < all.length; ) {
    let to = from;
    while (to < all.length && all[to]!.value === all[from]!.value) to++;
    const rank = (from + 1 + to) / 2;
    for (let index = from; index < to; index++) if (all[index]!.isIn) rankSum += rank;
    from = to;
  }
  return (rankSum - (inScope.length * (inScope.length + 1)) / 2) / (inScope.length * outOfScope.length);
}

async function judge(contender: Contender, { examples, questions }: Task) {
  const guess = await contender(examples);
  const inScope: number[] = [];
  const outOfScope: number[] = [];
  const predictions = [];
  for (const { text, domain } of questions) {
    const { domain: guessed, confidence } = await guess(text);
    (domain === null ? outOfScope : inScope).push(confidence);
    predictions.push({ confidence, isRight: domain !== null && guessed === domain, weight: 1 });
  }
  // One request in three fits no adapter: the mix that the router's calibration presumes, which no data set knows better.
  const weightOfForeign = inScope.length / 2 / outOfScope.length;
  const right = predictions.filter(({ isRight }) => isRight).length;
  return {
    accuracy: right / inScope.length,
    auroc: auroc(inScope, outOfScope),
    calibrationError: expectedCalibrationError(predictions),
    thirdCalibrationError: expectedCalibrationError(
      predictions.map((prediction, index) => ({ ...prediction, weight: questions[index]!.domain === null ? weightOfForeign : 1 })),
    ),
  };
}

/** Draws that nothing in the router was tried on. */
const FIRST_SEED = 1_000;
const contenders: Record<string, Contender> = { clara, "one centroid": oneCentroid, "TF-IDF + logistic regression": tfIdf };
const contender = contenders[name];
if (!contender) throw new Error(`no contender named ${name}`);
const measurement: Record<string, number> = {};
for (const [task, drawn] of Object.entries(drawTasks(folder, FIRST_SEED + Number(process.env.BENCH_ROUND)))) {
  for (const [metric, value] of Object.entries(await judge(contender, drawn))) measurement[`${task}.${metric}`] = value;
}
process.stdout.write(`${JSON.stringify(measurement)}\n`);
