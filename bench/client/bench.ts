/**
 * What one streamed answer of 64 tokens costs its client in CPU, however its packets are cut; what a thousand streams that are held open
 * cost in memory; and how soon an abort has ended them. Every contender asks the same server, and every text is checked.
 */
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { Bench, Contender, Metric } from "../harness.ts";

const hooks = fileURLToPath(new URL("../../scripts/ts-hooks.mjs", import.meta.url));
const program = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/**
 * V8's room for new objects grows in steps, up to 48 MB in all, by how much is made at a time and not by what is held: in one run by as much
 * as a thousand streams hold, in the next by nothing. Kept at its smallest, a process grows by what the streams hold.
 */
const YOUNG_GENERATION = "--max-semi-space-size=1";

export async function open(): Promise<Bench> {
  const server = execa("node", ["--import", hooks, program("server.ts")], {
    ipc: true,
    preferLocal: true,
    stderr: "inherit",
    reject: false,
  });
  const url = (await server.getOneMessage()) as string;
  const group = (part: "cpu" | "memory", metrics: Metric[], flags: string[] = []) => {
    const contender = (name: string): Contender => ({
      name,
      command: ["node", "--import", hooks, ...flags, program("contender.ts"), name, part],
      env: { BENCH_SERVER: url },
    });
    return { metrics, baseline: contender("undici"), contenders: ["fetch", "openai", "ai", "clara"].map(contender) };
  };
  const metric = (unit: string) => (name: string) => ({ name, unit, lowerIsBetter: true });
  const times = ["tokensCpuMs", "coalescedCpuMs", "splitCpuMs", "refusedCpuMs", "closedCpuMs"].map(metric("ms CPU"));
  const sizes = [...["heldRssKb", "heldHeapKb"].map(metric("kB")), metric("ms")("abortMs")];
  return {
    name: "client",
    groups: [group("cpu", times), group("memory", sizes, ["--expose-gc", YOUNG_GENERATION])],
    close: async () => {
      server.kill();
      await server;
    },
  };
}
