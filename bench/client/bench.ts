/**
 * What one streamed answer of 64 tokens costs its client in CPU, however its packets are cut; what a thousand streams that are held open
 * cost in memory; and how soon an abort has ended them. Every contender asks the same server, and every text is checked.
 */
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { Bench, Contender } from "../harness.ts";

const hooks = fileURLToPath(new URL("../../scripts/ts-hooks.mjs", import.meta.url));
const program = (name: string) => fileURLToPath(new URL(name, import.meta.url));

export async function open(): Promise<Bench> {
  const server = execa("node", ["--import", hooks, program("server.ts")], {
    ipc: true,
    preferLocal: true,
    stderr: "inherit",
    reject: false,
  });
  const url = (await server.getOneMessage()) as string;
  const contender = (name: string): Contender => ({
    name,
    command: ["node", "--import", hooks, "--expose-gc", program("contender.ts"), name],
    env: { BENCH_SERVER: url },
  });
  const cpu = (name: string) => ({ name, unit: "ms CPU", lowerIsBetter: true });
  const metrics = [
    ...["tokensCpuMs", "coalescedCpuMs", "splitCpuMs", "refusedCpuMs", "closedCpuMs"].map(cpu),
    { name: "heldRssKb", unit: "kB", lowerIsBetter: true },
    { name: "heldHeapKb", unit: "kB", lowerIsBetter: true },
    { name: "abortMs", unit: "ms", lowerIsBetter: true },
  ];
  return {
    name: "client",
    groups: [{ metrics, baseline: contender("undici"), contenders: ["fetch", "openai", "ai", "clara"].map(contender) }],
    close: async () => {
      server.kill();
      await server;
    },
  };
}
