/**
 * Feedback acknowledged per second and CPU per acknowledgement, with full durability: one child process sends 4,000
 * entries, 64 at a time. On PostgreSQL beside a plain INSERT and a pg-boss send on the same server; on the embedded
 * database beside a plain INSERT into the same kind of database (which, unlike CLARA, would not survive power loss).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startServer, stopServers } from "../../test/setup/postgres-server.ts";
import type { Bench, Contender } from "../harness.ts";

const hooks = fileURLToPath(new URL("../../scripts/ts-hooks.mjs", import.meta.url));
const program = fileURLToPath(new URL("contender.ts", import.meta.url));

const contender = (name: string, database: string): Contender => ({
  name: `${name} (${database === "embedded" ? "embedded" : "PostgreSQL"})`,
  command: ["node", "--import", hooks, program, name],
  env: { BENCH_DATABASE: database },
});

const metrics = [
  { name: "cpuMicroseconds", unit: "µs/op", lowerIsBetter: true },
  { name: "p50Ms", unit: "ms", lowerIsBetter: true },
  { name: "p99Ms", unit: "ms", lowerIsBetter: true },
  { name: "perSecond", unit: "/s", lowerIsBetter: false },
];

export async function open(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "clara-bench-"));
  const url = await startServer(folder, process.pid, "pgvector");
  if (url === null) throw new Error("PostgreSQL did not start");
  return {
    name: "feedback",
    groups: [
      { metrics, baseline: contender("insert", url), contenders: [contender("pg-boss", url), contender("clara", url)] },
      { metrics, baseline: contender("insert", "embedded"), contenders: [contender("clara", "embedded")] },
    ],
    close: async () => {
      await stopServers(folder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
