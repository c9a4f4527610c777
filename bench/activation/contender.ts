/**
 * One contender of the activation bench: streams answers while two versions of an adapter take each other's place, and prints what it took;
 * fails where a request failed or an answer was made by more than one version. Run by bench.ts.
 */
import { execa } from "execa";
import { ServingClient } from "../../src/client/index.js";
import { AdapterRouter } from "../../src/router/index.js";
import type { Adapter } from "../../src/types/adapter.js";
import { identityOf } from "../../test/client/support/scored-weights.ts";
import { median } from "../statistics.ts";
import { folderOf, QUESTION, TOKENS } from "./traffic.ts";

const ENGINES = 2;
const ASKING = 32;
/** Answers ahead of what is measured, so that code is compiled and connections are open. */
const WARM_UP = 200;
/** Answers where no version changes, for each flip elsewhere. */
const ANSWERS_PER_FLIP = 25;
const DOMAIN = "office";

const mode = process.argv[2] ?? "";
const flips = Number(process.env.BENCH_FLIPS);
const hooks = process.env.BENCH_HOOKS ?? "";
const engines = Array.from({ length: ENGINES }, () =>
  execa("node", ["--import", hooks, process.env.BENCH_ENGINE ?? ""], { ipc: true, stderr: "inherit", reject: false }),
);
const router = new AdapterRouter();
const identities = new Map<string, ReturnType<typeof identityOf>>();
const serving = new ServingClient({
  engine: "vllm",
  endpoints: (await Promise.all(engines.map((engine) => engine.getOneMessage()))) as string[],
  // what fails once shall be seen
  retries: { max: 0 },
  router,
  adapters: { getAdapter: (id) => router.getAdapter(id), adapterIdentity: async (id) => identities.get(id) ?? null },
  proof: { mode: mode === "unproven flips" ? "off" : "required" },
});

/** Every activation so far, by version. */
const activations: string[] = [];
const failed: string[] = [];
const mixed: string[] = [];
const answerMs: number[] = [];
let asked = 0;

async function register(version: number): Promise<Adapter> {
  const id = `${DOMAIN}@v${version}`;
  identities.set(id, identityOf(id));
  return router.registerAdapter({ name: DOMAIN, domain: DOMAIN, path: folderOf(id), baseModel: "base" });
}

/** Brings a version to every engine and gives it the traffic; resolves to the milliseconds. */
async function activate({ id, path }: Adapter, predecessorId: string | null): Promise<number> {
  const startedAt = performance.now();
  const { endpoints } = await serving.loadAdapter({ id, path, predecessorId });
  const isProven = endpoints.every(({ proof }) => proof?.status === "proven");
  if (isProven !== (mode !== "unproven flips")) throw new Error(`${id}: ${JSON.stringify(endpoints)}`);
  await router.activateAdapter(id);
  activations.push(id);
  return performance.now() - startedAt;
}

/** Asks once; an answer must be made by one version, the one that it says, and one that was active while it was asked for. */
async function ask(): Promise<void> {
  asked += 1;
  const activeBefore = activations.length - 1;
  const startedAt = performance.now();
  const stream = serving.stream({ prompt: QUESTION, domain: DOMAIN });
  let text = "";
  for await (const chunk of stream) text += chunk.text;
  const { adapterId } = await stream.result;
  answerMs.push(performance.now() - startedAt);
  if (text !== ` ${adapterId}`.repeat(TOKENS)) mixed.push(`${adapterId} answered as${text}`);
  else if (!activations.slice(activeBefore).includes(adapterId ?? "")) mixed.push(`${adapterId} answered after its time`);
}

async function askUntil(isEnough: () => boolean): Promise<void> {
  const one = async () => {
    while (!isEnough()) await ask().catch((error: unknown) => failed.push(String(error)));
  };
  await Promise.all(Array.from({ length: ASKING }, one));
}

/** Lets two versions take each other's place while questions are asked; the milliseconds of each flip. */
async function flipUnderLoad(active: Adapter, other: Adapter): Promise<number[]> {
  const flipMs: number[] = [];
  let isOver = false;
  const asking = askUntil(() => isOver);
  try {
    for (let [from, to] = [active, other]; flipMs.length < flips; [from, to] = [to, from]) {
      flipMs.push(await activate(to, from.id));
      await serving.unloadAdapter(from.id);
    }
  } finally {
    isOver = true;
    await asking;
  }
  return flipMs;
}

function percentile(values: readonly number[], share: number): number {
  return [...values].sort((left, right) => left - right)[Math.ceil(values.length * share) - 1] as number;
}

try {
  const [first, second] = [await register(1), await register(2)];
  await activate(first, null);
  await askUntil(() => asked >= WARM_UP);
  asked = 0;
  answerMs.length = 0;
  let flipMs: number[] = [];
  if (mode === "no flips") await askUntil(() => asked >= flips * ANSWERS_PER_FLIP);
  else flipMs = await flipUnderLoad(first, second);
  process.stderr.write(`${mode}: ${flipMs.length} flips, ${asked} requests, ${failed.length} failed, ${mixed.length} mixed\n`);
  if (failed.length + mixed.length > 0) throw new Error([...failed, ...mixed].slice(0, 10).join("\n"));
  const flipTimes = flipMs.length === 0 ? {} : { flipP50Ms: median(flipMs), flipP95Ms: percentile(flipMs, 0.95) };
  process.stdout.write(`${JSON.stringify({ requestP50Ms: median(answerMs), requestP95Ms: percentile(answerMs, 0.95), ...flipTimes })}\n`);
} finally {
  await serving.close();
  for (const engine of engines) engine.kill();
  await Promise.all(engines);
}
