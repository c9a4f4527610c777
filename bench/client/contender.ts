/** One contender of the client bench: reads streams and prints what it took, in CPU or in memory. Run by bench.ts. */
import { get } from "node:http";
import { json } from "node:stream/consumers";
import PQueue from "p-queue";
import { answers, type Shape } from "./answers.ts";
import { type Reader, readers } from "./readers.ts";

/** Streams of each shape; those that come at once take so little that more are needed. */
const STREAMS = 300;
const STREAMS_AT_ONCE = 1_000;
/** Streams before anything is measured, so that code is compiled and connections are open: after a hundred every contender still gets faster. */
const WARM_UP = 300;
/** Before memory is read: few, because what they let go of is taken up by the held ones and hides them. */
const WARM_UP_OF_MEMORY = 32;
const CONCURRENCY = 16;
/** Streams that are open before memory is read, because the first ones also pay for what is made once. */
const HELD_BEFORE = 500;
const HELD = 1_000;
/** Held streams that are opened at once. */
const OPENED_AT_ONCE = 100;

const server = process.env.BENCH_SERVER ?? "";
const open = readers[process.argv[2] ?? ""];
if (!open) throw new Error(`no contender named ${process.argv[2]}`);

/** Reads one stream; a wrong text, or a wrong end, ends the bench. */
async function readOne({ read, isPromisedError }: Reader, shape: Shape): Promise<void> {
  const { text: expected, isBrokenOff } = answers[shape];
  let text = "";
  const failure: unknown = await read((piece) => {
    text += piece;
  }).then(
    () => null,
    (error: unknown) => error,
  );
  if (text !== expected) throw new Error(`${shape}: read ${JSON.stringify(text)}`, { cause: failure });
  if (isBrokenOff !== (failure !== null)) throw new Error(`${shape}: ended with ${failure}`, { cause: failure });
  if (failure !== null && isPromisedError?.(failure) === false) throw new Error(`${shape}: threw ${failure}`, { cause: failure });
}

async function readMany(reader: Reader, shape: Shape, count: number): Promise<void> {
  await new PQueue({ concurrency: CONCURRENCY }).addAll(Array.from({ length: count }, () => () => readOne(reader, shape)));
}

/** CPU milliseconds of one stream. */
async function cpuOf(shape: Shape, streams = STREAMS, warmUp = WARM_UP): Promise<number> {
  const reader = open!(`${server}/${shape}`);
  await readMany(reader, shape, warmUp);
  const before = process.cpuUsage();
  await readMany(reader, shape, streams);
  const { user, system } = process.cpuUsage(before);
  await reader.close();
  return (user + system) / 1_000 / streams;
}

async function cpu(): Promise<object> {
  const coalescedCpuMs = await cpuOf("coalesced", STREAMS_AT_ONCE, STREAMS_AT_ONCE);
  return {
    tokensCpuMs: await cpuOf("tokens"),
    coalescedCpuMs,
    splitCpuMs: await cpuOf("split"),
    refusedCpuMs: await cpuOf("refused"),
    closedCpuMs: await cpuOf("closed"),
  };
}

/** Kilobytes that this process holds; what is garbage does not count. */
function held(): { rss: number; heap: number } {
  const { gc } = globalThis;
  if (!gc) throw new Error("run it with --expose-gc");
  // what the first round frees may only then let go of more
  for (let round = 0; round < 3; round += 1) gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss: rss / 1_024, heap: (heapUsed + external) / 1_024 };
}

/** Answers when the server has no held stream left. */
async function endedAtServer(): Promise<number> {
  const { ended } = await new Promise<{ ended: number }>((resolve, reject) => {
    get(`${server}/ended`, { agent: false }, (response) => resolve(json(response) as Promise<{ ended: number }>)).once("error", reject);
  });
  return ended;
}

/** What a thousand more streams hold that have given their first text, and how long it takes until an abort has ended all at the server. */
async function memory(): Promise<object> {
  const warm = open!(`${server}/coalesced`);
  await readMany(warm, "coalesced", WARM_UP_OF_MEMORY);
  await warm.close();
  const reader = open!(`${server}/held`);
  const controller = new AbortController();
  const reading: Promise<unknown>[] = [];
  const openOne = () =>
    new Promise<void>((resolve, reject) => {
      const stream = reader.read(() => resolve(), controller.signal);
      stream.catch(reject);
      reading.push(stream);
    });
  const openMany = (count: number) => new PQueue({ concurrency: OPENED_AT_ONCE }).addAll(Array.from({ length: count }, () => openOne));
  await openMany(HELD_BEFORE);
  const before = held();
  await openMany(HELD);
  const after = held();
  const abortedAt = performance.now();
  controller.abort();
  const ended = await endedAtServer();
  const abortMs = performance.now() - abortedAt;
  if (ended !== HELD_BEFORE + HELD) throw new Error(`the server saw ${ended} of ${HELD_BEFORE + HELD} streams end`);
  const left = (await Promise.allSettled(reading)).filter(({ status }) => status === "fulfilled");
  if (left.length > 0) throw new Error(`${left.length} aborted streams ended as if they were whole`);
  await reader.close();
  return { heldRssKb: (after.rss - before.rss) / HELD, heldHeapKb: (after.heap - before.heap) / HELD, abortMs };
}

const parts: Record<string, () => Promise<object>> = { cpu, memory };
const measure = parts[process.argv[3] ?? ""];
if (!measure) throw new Error(`no part named ${process.argv[3]}`);
process.stdout.write(`${JSON.stringify(await measure())}\n`);
// agents that cannot be closed keep idle connections
process.exit();
