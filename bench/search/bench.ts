/**
 * Hybrid search: quality on Cranfield (with `--data`), and latency at `--sizes` documents on the embedded database and on
 * PostgreSQL, beside one hand-written statement of vectors and full text on the same tables. With `--uds3` the keyword leg
 * on UDS3's table, beside hand-written full text.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import pg from "pg";
import { startServer, stopServers } from "../../test/setup/postgres-server.ts";
import type { Bench, BenchOptions, Contender, Metric, Row } from "../harness.ts";
import { CONTENDERS } from "./uds3/keywords.ts";

const hooks = fileURLToPath(new URL("../../scripts/ts-hooks.mjs", import.meta.url));
const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const run = (name: string, ...args: string[]): ["node", ...string[]] => ["node", "--import", hooks, file(name), ...args];
/** Loading 100,000 documents takes the embedded database half an hour on two busy cores. */
const LOADING_MS = 3_600_000;

const metrics: Metric[] = [
  { name: "p95Ms", unit: "ms", lowerIsBetter: true },
  { name: "p50Ms", unit: "ms", lowerIsBetter: true },
  { name: "recall", unit: "of 10", lowerIsBetter: false },
];

export async function open({ sizes, data, embedder, uds3 }: BenchOptions): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "clara-bench-"));
  const close = async () => {
    await stopServers(folder);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const server = await startServer(folder, process.pid, "pgvector");
    if (server === null) throw new Error("PostgreSQL did not start");
    if (uds3) return { name: "search-uds3", ...(await onUds3(server, sizes, data)), close };
    const rows: Row[] = data ? await quality("quality.ts", await makeDatabase(server, "quality"), data, embedder) : [];
    const groups: Bench["groups"] = [];
    for (const size of sizes) {
      for (const place of [await makeDatabase(server, `bench_${size}`), join(folder, `embedded-${size}`)]) {
        const kind = place.startsWith("postgres") ? "PostgreSQL" : "embedded";
        process.stderr.write(`search: loading ${size} documents, ${kind}\n`);
        const [node, ...args] = run("load.ts", place, String(size));
        const { stdout } = await execa(node, args, { stderr: "inherit", preferLocal: true, timeout: LOADING_MS });
        process.stderr.write(`${stdout}\n`);
        const contender = (name: string): Contender => ({
          name: `${name} (${kind}, ${size})`,
          command: run("contender.ts", name, place, String(size)),
        });
        groups.push({
          metrics,
          baseline: contender("sql"),
          contenders: [contender("clara: vector, keyword"), contender("clara: all legs")],
        });
      }
    }
    return { name: "search", groups, rows, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function onUds3(server: string, sizes: readonly number[], data: string | undefined): Promise<Pick<Bench, "groups" | "rows">> {
  const rows: Row[] = [];
  const groups: Bench["groups"] = [];
  for (const source of [...(data ? [data] : []), ...sizes.map(String)]) {
    const label = source === data ? "Cranfield" : source;
    const database = await makeDatabase(server, `uds3_${groups.length}`);
    process.stderr.write(`search: loading UDS3's table, ${label}\n`);
    const [node, ...args] = run("uds3/load.ts", database, source);
    await execa(node, args, { stderr: "inherit", preferLocal: true, timeout: LOADING_MS });
    if (source === data) rows.push(...(await quality("uds3/quality.ts", database, data)));
    const [baseline, ...contenders] = Object.entries(CONTENDERS).map(([name, contender]) => ({
      name: `${contender} (${label})`,
      command: run("uds3/contender.ts", name, database, source),
    })) as [Contender, ...Contender[]];
    groups.push({ metrics: metrics.slice(0, 2), baseline, contenders });
  }
  return { rows, groups };
}

async function quality(script: string, database: string, ...more: string[]): Promise<Row[]> {
  process.stderr.write("search: quality on Cranfield\n");
  const [node, ...args] = run(script, database, ...more);
  const { stdout } = await execa(node, args, { stderr: "inherit", preferLocal: true, timeout: LOADING_MS });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Row[];
}

async function makeDatabase(server: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    await client.query(`create database ${pg.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
