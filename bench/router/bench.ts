/**
 * The router. Speed: CPU of a decision with the embedding given, among a hundred and among ten thousand adapters of ten examples,
 * beside the cosine to one centroid an adapter in plain TypeScript. Quality, with `--data` only: CLINC150 with an adapter a domain
 * and the lexical embedder, beside one centroid, and TF-IDF with logistic regression; each round draws other examples.
 */
import { fileURLToPath } from "node:url";
import type { Bench, BenchOptions, Contender, Metric } from "../harness.ts";

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

export async function open({ data }: BenchOptions): Promise<Bench> {
  const groups: Bench["groups"] = [speedGroup(100, ["ranking", "route", "route, exploring"]), speedGroup(10_000, ["ranking"])];
  if (data !== undefined) {
    const quality = (name: string): Contender => ({ name, command: ["node", "--import", hooks, program("quality.ts"), name, data] });
    const [baseline, ...contenders] = ["TF-IDF + logistic regression", "one centroid", "clara"].map(quality);
    groups.push({ metrics: qualityMetrics, baseline: baseline!, contenders });
  }
  return { name: "router", groups, close: async () => {} };
}
