import { describe, expect, it } from "vitest";
import { AdapterTurns } from "../../src/client/balancing/adapter-turns.js";
import { CallScope } from "../../src/client/http/call-scope.js";
import { ServingClient } from "../../src/client/index.js";
import { seededRandom } from "../../src/support/seeded-random.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

const SLOTS = 8;
const CALLERS = 32;
const CALLS = 480;

/** Adapters as people ask for them: the n-th most popular 1/n as often as the first (Zipf). */
function zipf(count: number, random: () => number): () => number {
  const weights = Array.from({ length: count }, (_, rank) => 1 / (rank + 1));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return () => {
    let rest = random() * total;
    for (const [rank, weight] of weights.entries()) {
      rest -= weight;
      if (rest < 0) return rank;
    }
    return 0;
  };
}

/** Keeps `CALLERS` calls under way until `CALLS` are done; how often the engines brought an adapter into a slot for them. */
async function traffic(engines: StandInEngine[], adapters: number, ask: (adapterId: string) => Promise<{ text: string }>): Promise<number> {
  const draw = zipf(adapters, seededRandom(adapters));
  const before = engines.reduce((sum, engine) => sum + engine.adapterLoads, 0);
  let left = CALLS;
  const caller = async () => {
    while (left-- > 0) {
      const id = `a${draw()}@v1`;
      const { text } = await ask(id);
      if (!text.startsWith(id)) throw new Error(`${id} was answered by ${text}`);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return engines.reduce((sum, engine) => sum + engine.adapterLoads, 0) - before;
}

const start = () =>
  startStandInEngine({ slots: SLOTS, loadTimeMs: 5, tokenIntervalMs: 1, answer: ({ adapter }) => `${adapter?.id} says yes to all` });
const client = (engines: StandInEngine[]) =>
  new ServingClient({
    engine: "vllm",
    endpoints: engines.map(({ url }) => url),
    adapters: { getAdapter: async (id) => ({ id, path: `adapters/${id}` }) },
    maxConcurrency: CALLERS,
    health: { intervalMs: 0 },
  });
const loadAll = async (serving: ServingClient, adapters: number) => {
  for (let index = 0; index < adapters; index += 1) await serving.loadAdapter({ id: `a${index}@v1`, path: `adapters/a${index}@v1` });
};

/** A client for each adapter, so that none knows of another: what engines do without the guard and without homes. */
async function unguarded<Result>(
  engines: StandInEngine[],
  work: (ask: (adapterId: string) => Promise<{ text: string }>) => Promise<Result>,
): Promise<Result> {
  const clients = new Map<string, ServingClient>();
  try {
    return await work((adapterId) => {
      const own = clients.get(adapterId) ?? client(engines);
      clients.set(adapterId, own);
      return own.stream({ prompt: "?", adapterId }).result;
    });
  } finally {
    await Promise.all([...clients.values()].map((one) => one.close()));
  }
}

describe("an engine with eight slots", () => {
  it.each([
    [4, 0],
    [8, 0],
    [9, 0.15],
    [16, 0.4],
    [64, 0.65],
  ])(
    "over %i adapters swaps one at most %f times a call, and every call is answered by its own",
    { timeout: 120_000 },
    async (adapters, most) => {
      await using engine = await start();
      await using serving = client([engine]);
      await loadAll(serving, adapters);
      const loads = await traffic([engine], adapters, (adapterId) => serving.stream({ prompt: "?", adapterId }).result);
      expect(loads / CALLS).toBeLessThanOrEqual(most);
    },
  );

  it("shares sixteen adapters with another one: each has a home, and few are swapped", { timeout: 120_000 }, async () => {
    const engines = await Promise.all([start(), start()]);
    await using serving = client(engines);
    await loadAll(serving, 16);
    const ask = (adapterId: string) => serving.stream({ prompt: "?", adapterId }).result;
    await traffic(engines, 16, ask);
    const loads = await traffic(engines, 16, ask);
    const without = await unguarded(engines, async (askAnywhere) => {
      await traffic(engines, 16, askAnywhere);
      return traffic(engines, 16, askAnywhere);
    });
    expect(loads).toBeLessThan(without / 2);
    for (const engine of engines) await engine.close();
  });
});

describe("turns at an engine", () => {
  const scope = (signal?: AbortSignal) => new CallScope({ signal, limit: { ms: 60_000, option: "test" }, onDispose: () => undefined });

  it("let no more adapters run than there are slots, and each that waits gets its turn in order", async () => {
    const turns = new AdapterTurns();
    turns.slots = 2;
    const leaveA = await turns.enter("a", scope());
    const leaveB = await turns.enter("b", scope());
    const leaveA2 = await turns.enter("a", scope());
    const order: string[] = [];
    const waiting = ["c", "c", "d"].map(async (id) => {
      const leave = await turns.enter(id, scope());
      order.push(id);
      return leave;
    });
    expect(turns.waiting).toBe(3);
    leaveB();
    const [leaveC1, leaveC2] = await Promise.all(waiting.slice(0, 2));
    expect(order).toEqual(["c", "c"]);
    expect(turns.running).toEqual(["a", "c"]);
    leaveA();
    leaveA2();
    const leaveD = await waiting[2]!;
    expect(order).toEqual(["c", "c", "d"]);
    for (const leave of [leaveC1!, leaveC2!, leaveD]) leave();
    expect(turns.running).toEqual([]);
  });

  it("end for an adapter that never rests, once others wait for its place", async () => {
    const turns = new AdapterTurns();
    turns.slots = 1;
    let isServed = false;
    const busy = (async () => {
      let leave = await turns.enter("busy", scope());
      for (let calls = 0; calls < 10_000 && !isServed; calls += 1) {
        const next = turns.enter("busy", scope());
        await new Promise((resolve) => setTimeout(resolve, 5));
        leave();
        leave = await next;
      }
      leave();
    })();
    const leave = await turns.enter("patient", scope());
    isServed = true;
    leave();
    await busy;
  });

  it("are not taken by a call that was given up while it waited", async () => {
    const turns = new AdapterTurns();
    turns.slots = 1;
    const leave = await turns.enter("a", scope());
    const controller = new AbortController();
    const given = turns.enter("b", scope(controller.signal));
    const kept = turns.enter("c", scope());
    controller.abort();
    await expect(given).rejects.toMatchObject({ code: "aborted" });
    leave();
    (await kept)();
    expect(turns.waiting).toBe(0);
  });
});
