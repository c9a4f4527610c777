/**
 * The router. Speed: CPU of a decision with the embedding given, among a hundred and among ten thousand adapters of ten examples,
 * beside the cosine to one centroid an adapter in plain TypeScript. Quality, with `--data` only: CLINC150 with an adapter a domain,
 * beside one centroid, and TF-IDF with logistic regression; each round draws other examples. With an embedder other than the lexical
 * one speed is left out, since it is given the embedding.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BACKGROUND_QUESTIONS } from "../../src/router/background-questions.js";
import { openMiniLm } from "../embedders/minilm.ts";
import { saveVectors } from "../embedders/saved-vectors.ts";
import type { Bench, BenchOptions, Contender, Metric } from "../harness.ts";
import { textsOf } from "./clinc150.ts";

const program = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const hooks = program("../../scripts/ts-hooks.mjs");

const speed = (name: string, adapters: number): Contender => ({
  name: `${name} (${adapters.toLocaleString("en")} adapters)`,
  command: ["node", "--import", hooks, program("speed.ts"), name, `${adapters}`],
});

const speedGroup = (adapters: number, contenders: string[]) => ({
  metrics: [{ name: "cpuMicroseconds", unit: "µs", lowerIsBetter: true }],
  baseline: speed("one centroid", adapters),
  contenders: contenders.map((name) => speed(name, adapters)),
});

const qualityMetrics = ["few", "unseen", "full"].flatMap((task): Metric[] => [
  { name: `${task}.accuracy`, unit: "", lowerIsBetter: false },
  { name: `${task}.auroc`, unit: "", lowerIsBetter: false },
  { name: `${task}.calibrationError`, unit: "", lowerIsBetter: true },
  { name: `${task}.thirdCalibrationError`, unit: "", lowerIsBetter: true },
]);

export async function open({ data, embedder }: BenchOptions): Promise<Bench> {
  const groups: Bench["groups"] =
    embedder === "lexical" ? [speedGroup(100, ["ranking", "route", "route, exploring"]), speedGroup(10_000, ["ranking"])] : [];
  const folder = await mkdtemp(join(tmpdir(), "clara-bench-"));
  const close = () => rm(folder, { recursive: true, force: true });
  try {
    if (data !== undefined) {
      const vectors = embedder === "lexical" ? [] : [await embedded(data, join(folder, "vectors"))];
      const quality = (name: string): Contender => ({
        name,
        command: ["node", "--import", hooks, program("quality.ts"), name, data, ...vectors],
      });
      const [baseline, ...contenders] = ["TF-IDF + logistic regression", "one centroid", "clara"].map(quality);
      groups.push({ metrics: qualityMetrics, baseline: baseline!, contenders });
    }
    return { name: "router", groups, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function embedded(data: string, file: string): Promise<string> {
  const texts = [...textsOf(data), ...BACKGROUND_QUESTIONS];
  process.stderr.write(`router: embedding ${texts.length} texts\n`);
  const { embedder, close } = await openMiniLm();
  try {
    await saveVectors(embedder, texts, file);
  } finally {
    await close();
  }
  return file;
}
