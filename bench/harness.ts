/**
 * Measures contenders side by side: each is a child process, all talk to the same servers, the order is turned round
 * every round (ABBA), and what is published is the median ratio to the baseline with its bootstrap interval. The
 * baseline runs a second time each round; where the interval of that ratio leaves [0.93, 1.07] the metric is NOISY, and
 * nothing is claimed of it.
 */
import { cpus, platform, release, totalmem } from "node:os";
import { execa } from "execa";
import { median, medianInterval } from "./statistics.ts";

/** What a contender prints on its last line of stdout. */
export interface Measurement {
  [metric: string]: number;
}

export interface Contender {
  name: string;
  command: [file: string, ...args: string[]];
  env?: Record<string, string>;
  /** Milliseconds that one run may take. Default 600,000. */
  timeoutMs?: number;
}

/** `unit` is printed. `lowerIsBetter` only turns the words. */
export interface Metric {
  name: string;
  unit: string;
  lowerIsBetter: boolean;
}

/** What the command line gives a bench. */
export interface BenchOptions {
  /** Folder of the data sets that are not part of the package. */
  data: string | undefined;
  /** How often `activation` changes the version in each run. */
  flips: number;
  /** Numbers of documents for `search`. */
  sizes: number[];
  /** What makes vectors of texts where `search` and `router` judge quality. */
  embedder: "lexical" | "minilm";
  /** `search` on UDS3's table instead of the store. */
  uds3: boolean;
}

export interface Bench {
  name: string;
  groups: { metrics: Metric[]; baseline: Contender; contenders: Contender[] }[];
  /** What was measured without rounds. */
  rows?: Row[];
  close(): Promise<void>;
}

export interface Row {
  metric: string;
  contender: string;
  baseline: string;
  value: number;
  unit: string;
  ratio: number;
  low: number;
  high: number;
  /** The baseline against itself left the quiet range: the row claims nothing. */
  noisy: boolean;
}

export interface Result {
  bench: string;
  environment: Record<string, string | number>;
  /** Some row is. */
  noisy: boolean;
  rows: Row[];
}

const QUIET = { low: 0.93, high: 1.07 };
const AGAIN = " (again)";
const TIMEOUT_MS = 600_000;

export async function measure(bench: Bench, rounds: number, onProgress: (text: string) => void): Promise<Result> {
  const rows: Row[] = [...(bench.rows ?? [])];
  for (const group of bench.groups) {
    const again: Contender = { ...group.baseline, name: `${group.baseline.name}${AGAIN}` };
    const all = [group.baseline, ...group.contenders, again];
    const measured = new Map<string, Measurement[]>(all.map((contender) => [contender.name, []]));
    for (let round = 0; round < rounds; round++) {
      for (const contender of round % 2 === 0 ? all : [...all].reverse()) {
        const measurement = await runOnce(contender, round);
        const values = group.metrics.map(({ name, unit }) => `${name} ${measurement[name]?.toPrecision(4)} ${unit}`.trim());
        onProgress(`${bench.name}: round ${round + 1} of ${rounds}, ${contender.name}: ${values.join(", ")}`);
        measured.get(contender.name)?.push(measurement);
      }
    }
    const base = measured.get(group.baseline.name) ?? [];
    for (const metric of group.metrics) {
      const ratiosOf = (runs: Measurement[]) =>
        runs.map((run, index) => (run[metric.name] as number) / (base[index]?.[metric.name] as number));
      const itself = medianInterval(ratiosOf(measured.get(again.name) ?? []));
      const noisy = itself.low < QUIET.low || itself.high > QUIET.high;
      for (const contender of all) {
        const runs = measured.get(contender.name) ?? [];
        const ratios = ratiosOf(runs);
        rows.push({
          metric: metric.name,
          contender: contender.name,
          baseline: group.baseline.name,
          value: median(runs.map((run) => run[metric.name] as number)),
          unit: metric.unit,
          ratio: median(ratios),
          ...medianInterval(ratios),
          noisy,
        });
      }
    }
  }
  return {
    bench: bench.name,
    environment: {
      node: process.version,
      os: `${platform()} ${release()}`,
      cpu: cpus()[0]?.model ?? "",
      cores: cpus().length,
      memoryBytes: totalmem(),
      rounds,
    },
    noisy: rows.some((row) => row.noisy),
    rows,
  };
}

/** Contenders that draw something draw by `BENCH_ROUND`, so that all of one round draw the same. */
async function runOnce(contender: Contender, round: number): Promise<Measurement> {
  const [file, ...args] = contender.command;
  const timeout = contender.timeoutMs ?? TIMEOUT_MS;
  const env = { ...contender.env, BENCH_ROUND: `${round}` };
  const { stdout } = await execa(file, args, { env, stderr: "inherit", preferLocal: true, timeout });
  const last = stdout.trim().split("\n").at(-1) ?? "";
  const measurement = JSON.parse(last) as Measurement;
  for (const [metric, value] of Object.entries(measurement)) {
    if (!Number.isFinite(value)) throw new Error(`${contender.name} printed ${metric} = ${value}`);
  }
  return measurement;
}
