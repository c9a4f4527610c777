/**
 * Two versions of an adapter take each other's place on two engines while 32 questions stream: no request may fail, and no answer may be
 * made by two versions. Measured are the requests beside the same load without flips, and a flip (load, proof, alias) beside one that
 * proves nothing.
 */
import { fileURLToPath } from "node:url";
import type { Bench, BenchOptions, Contender, Metric } from "../harness.ts";

/** Milliseconds that a flip takes at most on a busy machine. */
const MAX_FLIP_MS = 6_000;

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const hooks = file("../../scripts/ts-hooks.mjs");

export async function open({ flips }: BenchOptions): Promise<Bench> {
  const contender = (name: string): Contender => ({
    name,
    command: ["node", "--import", hooks, file("contender.ts"), name],
    env: { BENCH_FLIPS: String(flips), BENCH_HOOKS: hooks, BENCH_ENGINE: file("engine.ts") },
    timeoutMs: flips * MAX_FLIP_MS,
  });
  const milliseconds = (name: string): Metric => ({ name, unit: "ms", lowerIsBetter: true });
  return {
    name: "activation",
    groups: [
      {
        metrics: ["requestP50Ms", "requestP95Ms"].map(milliseconds),
        baseline: contender("no flips"),
        contenders: ["unproven flips", "proven flips"].map(contender),
      },
      {
        metrics: ["flipP50Ms", "flipP95Ms"].map(milliseconds),
        baseline: contender("unproven flips"),
        contenders: [contender("proven flips")],
      },
    ],
    close: async () => {},
  };
}
