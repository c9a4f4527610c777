import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allowBatch, chooseBatch } from "../../src/pipeline/batch-rules.js";
import type { PipelineOptions } from "../../src/pipeline/index.js";
import { TRIGGER_DEFAULTS } from "../../src/pipeline/pipeline-options.js";
import { type DomainState, dueTrigger } from "../../src/pipeline/triggers.js";
import type { Store } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { addAll, buildRooms } from "./support/rooms.js";

const state = (more: Partial<DomainState> = {}): DomainState => ({
  domain: "building",
  waiting: 60,
  eligible: 60,
  distinctSubjects: 6,
  isTrusted: true,
  perSubject: 30,
  oldestWaitingAt: 0,
  hasOpenCycle: false,
  hasCanary: false,
  isNearlyFull: false,
  lastCycleEndedAt: null,
  lastCycleStatus: null,
  consecutiveFailures: 0,
  newSinceLastCycle: 60,
  trainingSecondsToday: 0,
  ...more,
});

describe("the triggers' rules", () => {
  const rules = TRIGGER_DEFAULTS;

  it("fire by size from 50 samples that fit in a batch", () => {
    expect(dueTrigger(state({ eligible: 50 }), rules, 1)).toBe("size");
    expect(dueTrigger(state({ eligible: 49 }), rules, 1)).toBeNull();
  });

  it("fire by time after 300 seconds in total, hours later too, and never without data", () => {
    const few = state({ waiting: 12, eligible: 12, lastCycleEndedAt: 0, lastCycleStatus: "promoted" });
    expect(dueTrigger(few, rules, 299_999)).toBeNull();
    expect(dueTrigger(few, rules, 300_000)).toBe("time");
    // an hour and ten seconds: `.seconds` of a time difference would say 10
    expect(dueTrigger(few, rules, 3_610_000)).toBe("time");
    expect(dueTrigger(state({ waiting: 9, eligible: 9 }), rules, 86_400_000)).toBeNull();
    expect(dueTrigger(state({ waiting: 0, eligible: 0 }), rules, 86_400_000)).toBeNull();
  });

  it("stay quiet while a cycle is open, in the cool-down, and longer after each failure in a row", () => {
    expect(dueTrigger(state({ hasOpenCycle: true }), rules, 1e9)).toBeNull();
    const after = (consecutiveFailures: number) => state({ lastCycleEndedAt: 0, lastCycleStatus: "failed", consecutiveFailures });
    expect(dueTrigger(after(0), rules, 9_999)).toBeNull();
    expect(dueTrigger(after(0), rules, 10_000)).toBe("size");
    expect(dueTrigger(after(3), rules, 79_999)).toBeNull();
    expect(dueTrigger(after(3), rules, 80_000)).toBe("size");
  });

  it("stay quiet when the day's training time is used up (A39)", () => {
    expect(dueTrigger(state({ trainingSecondsToday: 8 * 3_600 - 1 }), rules, 1e9)).toBe("size");
    expect(dueTrigger(state({ trainingSecondsToday: 8 * 3_600 }), rules, 1e9)).toBeNull();
  });

  it("leave a canary its time as long as there is room for what comes", () => {
    expect(dueTrigger(state({ hasCanary: true }), rules, 1e9)).toBeNull();
    expect(dueTrigger(state({ hasCanary: true, isNearlyFull: true }), rules, 1e9)).toBe("size");
  });

  it("wait for new samples after a cycle that lacked evidence", () => {
    const after = (newSinceLastCycle: number) => state({ lastCycleEndedAt: 0, lastCycleStatus: "inconclusive", newSinceLastCycle });
    expect(dueTrigger(after(9), rules, 1e9)).toBeNull();
    expect(dueTrigger(after(10), rules, 1e9)).toBe("size");
  });
});

describe("the rules about people", () => {
  const rules = TRIGGER_DEFAULTS;
  const allowed = (counts: Record<string, number>, more: Partial<typeof rules> = {}) =>
    allowBatch(new Map(Object.entries(counts)), { ...rules, ...more }, 500);

  it("trust a batch from five people, and not one from four", () => {
    expect(allowed({ a: 20, b: 20, c: 20, d: 20 })).toMatchObject({ isTrusted: false, distinctSubjects: 4 });
    expect(allowed({ a: 20, b: 20, c: 20, d: 20, e: 20 })).toMatchObject({ isTrusted: true, distinctSubjects: 5, eligible: 100 });
  });

  it("hold a flood of one person down to the share of the batch (A27)", () => {
    const half = { maxSubjectShare: 0.5 };
    const allowance = allowed({ flooder: 480, b: 10, c: 10 }, half);
    expect(allowance).toMatchObject({ eligible: 40, perSubject: 20 });
    const samples = [...Array(480).fill("flooder"), ...Array(10).fill("b"), ...Array(10).fill("c")].map((subject_id: string) => ({
      subject_id,
    }));
    const batch = chooseBatch(samples, allowance, { ...rules, ...half });
    expect(batch).toHaveLength(40);
    expect(batch.filter((sample) => sample.subject_id === "flooder")).toHaveLength(20);
    // A27: ten thousand good-looking samples of one person
    const others = Array.from({ length: 10 }, (_, index) => [`user-${index}`, 10] as const);
    const flooded = Object.fromEntries([["flooder", 10_000], ...others]);
    for (const maxSubjectShare of [rules.maxSubjectShare, 0.1]) {
      const strict = allowed(flooded, { maxSubjectShare });
      expect(strict.perSubject / strict.eligible).toBeLessThanOrEqual(maxSubjectShare);
      expect(strict.eligible).toBeGreaterThanOrEqual(100);
    }
    // four busy people are heard in full, however few samples the others give
    expect(allowed({ a: 50, b: 50, c: 50, d: 50, e: 1, f: 1 })).toMatchObject({ isTrusted: true, eligible: 202 });
  });

  it("count nameless samples as one person, unless the host names nobody at all", () => {
    expect(allowed({ "": 60 })).toMatchObject({ isTrusted: true, eligible: 60 });
    expect(allowed({ "": 60 }, { anonymous: "one" })).toMatchObject({ isTrusted: false, distinctSubjects: 1 });
    expect(allowed({ "": 60, a: 1 })).toMatchObject({ isTrusted: false, distinctSubjects: 2 });
    expect(allowed({ "": 60 }, { anonymous: "distinct" })).toMatchObject({ isTrusted: true, distinctSubjects: 60 });
  });
});

describeEachStore("triggers", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  const withClock = (options: PipelineOptions = {}) => {
    const clock = { now: Date.now() };
    return { clock, ...buildRooms(store, { clock: () => clock.now, ...options }) };
  };

  it("start a cycle by size, and count the time from its end", async () => {
    const { pipeline, clock } = withClock();
    await addAll(pipeline, corrections(facts(16), { domain: "trigger-size" }));
    expect(await pipeline.checkTriggers()).toEqual([]);
    await addAll(pipeline, corrections(facts(24).slice(16), { domain: "trigger-size" }));
    const [first] = await pipeline.checkTriggers();
    expect(await pipeline.waitForCycle(first as string)).toMatchObject({ trigger: "size", samples: 72, status: "promoted" });
    await addAll(pipeline, corrections(facts(30).slice(24), { domain: "trigger-size" }));
    clock.now += 299_000;
    expect(await pipeline.checkTriggers()).toEqual([]);
    clock.now += 3_600_000;
    const [second] = await pipeline.checkTriggers();
    expect((await pipeline.waitForCycle(second as string)).trigger).toBe("time");
    // long after, and nothing waits: nothing is started
    clock.now += 86_400_000;
    expect(await pipeline.checkTriggers()).toEqual([]);
  });

  it("start no cycle when the jobs of all domains took the day's training time, except by hand (A39)", async () => {
    const { pipeline, trainer } = buildRooms(store, { triggers: { dailyTrainingSeconds: 3_600, cooldownMs: 0 } });
    const domain = "trigger-budget";
    trainer.trainSeconds = 3_599;
    const held: { domain: string; reason: string }[] = [];
    pipeline.on("cycle.held", (event) => void held.push(event));
    for (const [at, expected] of [1, 1, 0].entries()) {
      await addAll(pipeline, corrections(facts(60).slice(20 * at, 20 * at + 20), { domain: `${domain}-${at}` }));
      const started = await pipeline.checkTriggers();
      expect([at, started.length]).toEqual([at, expected]);
      for (const id of started) expect((await pipeline.waitForCycle(id)).status).toBe("promoted");
    }
    expect(held).toEqual([{ domain: `${domain}-2`, reason: expect.stringContaining("triggers.dailyTrainingSeconds") }]);
    expect((await pipeline.triggerTrainingCycle({ domain: `${domain}-2`, wait: true })).status).toBe("promoted");
  });

  it("ask the host's own trigger, with what waits", async () => {
    const asked: number[] = [];
    const { pipeline } = withClock({
      triggers: {
        custom: (domain) => {
          asked.push(domain.waiting);
          return domain.waiting >= 12;
        },
      },
    });
    await addAll(pipeline, corrections(facts(3), { domain: "trigger-custom" }));
    expect(await pipeline.checkTriggers()).toEqual([]);
    await addAll(pipeline, corrections(facts(4).slice(3), { domain: "trigger-custom" }));
    const [started] = await pipeline.checkTriggers();
    expect((await pipeline.waitForCycle(started as string)).trigger).toBe("custom");
    expect(asked).toEqual([12]);
  });

  it("work by themselves once started, keep quiet once stopped, and one burst is one batch", async () => {
    const { pipeline } = withClock({ triggers: { debounceMs: 100, intervalMs: 200 } });
    await pipeline.start();
    expect(pipeline.status().isRunning).toBe(true);
    await addAll(pipeline, corrections(facts(25), { domain: "trigger-auto" }));
    await expect.poll(async () => (await pipeline.listCycles())[0]?.status, { timeout: 20_000 }).toBe("promoted");
    const cycles = await pipeline.listCycles();
    expect(cycles.map((cycle) => cycle.samples)).toEqual([75]);
    await pipeline.stop();
    expect(pipeline.status()).toMatchObject({ isRunning: false, activeCycles: [] });
    await addAll(pipeline, corrections(facts(60).slice(25), { domain: "trigger-auto" }));
    expect(await pipeline.listCycles()).toHaveLength(1);
  });

  it("say what is missing where enough waits and nothing starts, once for each rule", async () => {
    const { pipeline } = withClock();
    const told: string[] = [];
    pipeline.on("cycle.held", ({ reason }) => void told.push(reason));
    const alone = (count: number) => corrections(facts(count), { domain: "trigger-alone", people: 1 });
    await addAll(pipeline, alone(3));
    expect(await pipeline.checkTriggers()).toEqual([]);
    expect(told).toEqual([]);
    await addAll(pipeline, alone(24).slice(9));
    expect(await pipeline.checkTriggers()).toEqual([]);
    expect(await pipeline.checkTriggers()).toEqual([]);
    expect(told).toEqual([
      "72 samples wait, but from 1 distinct people; 5 are needed before a batch is trusted (set triggers.minDistinctSubjects, or give no subjectId at all where you have no users yet)",
    ]);
    const few = corrections(facts(30).slice(24), { domain: "trigger-alone", people: 4 });
    await addAll(
      pipeline,
      few.slice(0, 4).map((input, index) => ({ ...input, subjectId: `other-${index}` })),
    );
    expect(await pipeline.checkTriggers()).toEqual([]);
    expect(told.slice(1)).toEqual([
      "76 samples wait, but only 5 fit in a batch in which one person gives at most 1 of them; 10 are needed (set triggers.maxSubjectShare, or wait for more people)",
    ]);
  });

  it("go on with a stopped cycle where it was", async () => {
    let hold: Promise<void> | undefined;
    let release = () => {};
    const { pipeline } = withClock({ failpoint: (name) => (name === "evaluate.started" ? hold : undefined) });
    hold = new Promise((resolve) => {
      release = resolve;
    });
    await addAll(pipeline, corrections(facts(25), { domain: "trigger-stop" }));
    const { id } = await pipeline.triggerTrainingCycle({ domain: "trigger-stop" });
    await expect.poll(async () => (await pipeline.getCycle(id)).stages.at(-1)?.name).toBe("evaluate");
    const stopping = pipeline.stop();
    release();
    await stopping;
    expect((await pipeline.getCycle(id)).endedAt).toBeNull();
    await pipeline.start();
    expect((await pipeline.waitForCycle(id)).status).toBe("promoted");
    await pipeline.stop();
  });
});
