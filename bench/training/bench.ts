/**
 * What the SDK adds around the trainer: the same spec run by `python -m clara_runtime.train` alone, and as a job through
 * `TrainingClient` with a local process as its back end. Both cold: a new Python process each time.
 */
import { fileURLToPath } from "node:url";
import type { Bench, Contender } from "../harness.ts";

const contender = (name: string): Contender => ({
  name,
  command: [
    "node",
    "--import",
    fileURLToPath(new URL("../../scripts/ts-hooks.mjs", import.meta.url)),
    fileURLToPath(new URL("contender.ts", import.meta.url)),
    name,
  ],
});

export async function open(): Promise<Bench> {
  return {
    name: "training",
    groups: [
      {
        metrics: [{ name: "seconds", unit: "s", lowerIsBetter: true }],
        baseline: contender("trainer alone"),
        contenders: [contender("clara")],
      },
    ],
    close: async () => {},
  };
}
