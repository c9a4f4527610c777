/** One contender of the feedback bench: sends entries and prints what it took. Run by bench.ts. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import PQueue from "p-queue";
import pg from "pg";
import { PgBoss } from "pg-boss";
import { createClara } from "../../src/clara.js";
import { openStore } from "../../src/store/index.js";
import { median } from "../statistics.ts";

const WARM_UP = 200;
const ENTRIES = 4_000;
const CONCURRENCY = 64;

interface Entry {
  prompt: string;
  response: string;
  correction: string;
  subjectId: string;
}

/** Sends one entry durably; `close` releases what was opened. */
interface Sender {
  send(entry: Entry): Promise<unknown>;
  close(): Promise<void>;
}

const database = process.env.BENCH_DATABASE ?? "embedded";
const scratch = await mkdtemp(join(tmpdir(), "clara-bench-"));
const embedded = { dataDir: join(scratch, "data") };
const place = database === "embedded" ? embedded : database;

async function plainInsert(): Promise<Sender> {
  const store = await openStore({ database: place });
  await store.pool.query("create table if not exists public.bench_feedback (id bigserial primary key, entry jsonb not null)");
  return {
    send: (entry) => store.pool.query("insert into public.bench_feedback (entry) values ($1)", [JSON.stringify(entry)]),
    close: () => store.close(),
  };
}

async function pgBoss(): Promise<Sender> {
  const pool = new pg.Pool({ connectionString: database, max: 10 });
  const boss = new PgBoss({
    db: { executeSql: (text: string, values?: unknown[]) => pool.query(text, values) },
    schema: "bench_boss",
    supervise: false,
    schedule: false,
  });
  await boss.start();
  await boss.createQueue("feedback");
  return {
    send: (entry) => boss.send("feedback", entry),
    close: async () => {
      await boss.stop({ graceful: false });
      await pool.end();
    },
  };
}

async function clara(): Promise<Sender> {
  const sdk = await createClara({
    database: place,
    worker: false,
    // ninety-seven people give thousands a second here, which no people do
    pipeline: { name: `bench-${process.pid}`, bufferCapacity: ENTRIES + WARM_UP + 1, firewall: { maxPerMinute: 1_000_000 } },
  });
  return {
    send: async (entry) => {
      const receipt = await sdk.pipeline.addFeedback({ ...entry, rating: -1 });
      if (receipt.status !== "accepted") throw new Error(`${receipt.status}: ${receipt.reason}`);
    },
    close: () => sdk.close(),
  };
}

const senders: Record<string, () => Promise<Sender>> = { insert: plainInsert, "pg-boss": pgBoss, clara };
const words = ["greenhouse", "chapel", "workshop", "terrace", "cellar", "office", "library", "kitchen"];
const entry = (number: number): Entry => ({
  prompt: `What is the ${words[number % 8]} number of room ${number} in house ${number * 7 + 1}?`,
  response: "I do not know that yet.",
  correction: `The ${words[number % 8]} number of room ${number} in house ${number * 7 + 1} is ${number * 13 + 5}.`,
  subjectId: `user-${number % 97}`,
});

const open = senders[process.argv[2] ?? ""];
if (!open) throw new Error(`no contender named ${process.argv[2]}`);
const sender = await open();
try {
  const queue = new PQueue({ concurrency: CONCURRENCY });
  await queue.addAll(Array.from({ length: WARM_UP }, (_, index) => () => sender.send(entry(ENTRIES + index))));
  const latencies: number[] = [];
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  await queue.addAll(
    Array.from({ length: ENTRIES }, (_, index) => async () => {
      const from = performance.now();
      await sender.send(entry(index));
      latencies.push(performance.now() - from);
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  latencies.sort((a, b) => a - b);
  process.stdout.write(
    `${JSON.stringify({
      cpuMicroseconds: (cpu.user + cpu.system) / ENTRIES,
      p50Ms: median(latencies),
      p99Ms: latencies[Math.ceil(latencies.length * 0.99) - 1],
      perSecond: ENTRIES / seconds,
    })}\n`,
  );
} finally {
  await sender.close();
  await rm(scratch, { recursive: true, force: true });
}
