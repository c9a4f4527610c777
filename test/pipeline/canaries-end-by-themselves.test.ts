import { afterAll, beforeAll, expect, it, onTestFinished, vi } from "vitest";
import type { PipelineOptions } from "../../src/pipeline/index.js";
import type { Store } from "../../src/store/index.js";
import type { Canary } from "../../src/types/index.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { addAll, buildRooms, type Rooms } from "./support/rooms.js";

let domains = 0;
let asked = 0;

describeEachStore("a canary", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  /** A domain whose v1 serves, and whose v2 is on trial on half of the people. */
  const onTrial = async (options: PipelineOptions = {}) => {
    const rooms = buildRooms(store, { ...options, canary: { share: 0.5, ...options.canary } });
    onTestFinished(() => rooms.router.close());
    const domain = `canary-${domains++}`;
    const register = () => rooms.router.registerAdapter({ name: domain, domain, path: `adapters/${domain}`, baseModel: "tiny" });
    const [incumbent, newcomer] = [(await register()).id, (await register()).id];
    await rooms.router.activateAdapter(incumbent);
    const ended: Canary[] = [];
    rooms.pipeline.on("canary.ended", ({ canary }) => void ended.push(canary));
    const canary = await rooms.pipeline.canaries.start(newcomer);
    return { ...rooms, domain, incumbent, newcomer, canary, ended };
  };
  type Trial = Awaited<ReturnType<typeof onTrial>>;

  /** Somebody asks, and is served as the router says; gives the generation's id and who answered. */
  const serve = async ({ router, generations }: Rooms, domain: string, { subjectId = `person-${asked++}`, failed = false } = {}) => {
    const routing = await router.route("?", { domain, subjectId });
    const id = `generation-${asked++}`;
    generations.record({
      id,
      text: failed ? "" : `The key of house ${id} hangs behind the door.`,
      prompt: `Where is the key of house ${id}?`,
      messages: [],
      adapterId: routing.adapterId,
      routingConfidence: routing.confidence,
      routing,
      usage: { promptTokens: 8, completionTokens: 9 },
      finishReason: failed ? "error" : "stop",
      model: "base",
      endpoint: "here",
      latencyMs: 20,
      subjectId,
      createdAt: new Date().toISOString(),
    });
    return { id, subjectId, adapterId: routing.adapterId };
  };

  /** People ask and rate until the trial has ended; `likes` says whether the next one likes an answer of that adapter. */
  const rateUntilEnded = async (trial: Trial, likes: (adapterId: string | null, count: number) => boolean) => {
    for (let count = 0; trial.ended.length === 0 && count < 400; count++) {
      const { id, subjectId, adapterId } = await serve(trial, trial.domain);
      const isLiked = likes(adapterId, count);
      const correction = isLiked ? {} : { correction: `The key of house ${id} is at the porter's.` };
      await trial.pipeline.addFeedback({ generationId: id, rating: isLiked ? 1 : -1, subjectId, domain: trial.domain, ...correction });
      await trial.pipeline.canaries.look();
    }
    return trial.ended[0];
  };

  it("that people like better is promoted, with what it showed on record", async () => {
    const trial = await onTrial();
    const activated = vi.fn();
    trial.pipeline.on("adapter.activated", activated);
    const end = await rateUntilEnded(trial, (adapterId, count) => adapterId === trial.newcomer || count % 5 === 0);
    expect(end).toMatchObject({
      id: trial.canary.id,
      status: "promoted",
      reason: expect.stringMatching(/^its answers are rated better: 1\.00 of 1 in \d+ ratings/),
    });
    expect(end!.evidence!.better).toBeGreaterThanOrEqual(20);
    expect(end!.evidence!.canary).toMatchObject({ meanReward: 1 });
    expect(trial.router.activeAdapter(trial.domain)?.id).toBe(trial.newcomer);
    expect((await trial.router.history(trial.domain)).at(-1)).toMatchObject({ adapterId: trial.newcomer, reason: end!.reason });
    expect(activated).toHaveBeenCalledWith({
      adapterId: trial.newcomer,
      previousAdapterId: trial.incumbent,
      domain: trial.domain,
      cycleId: null,
    });
  });

  it("that people must correct is rolled back, and its share with it", async () => {
    const trial = await onTrial();
    const rolledBack = vi.fn();
    trial.pipeline.on("adapter.rolledback", rolledBack);
    const end = await rateUntilEnded(trial, (adapterId, count) => adapterId !== trial.newcomer && count % 5 !== 0);
    expect(end).toMatchObject({ status: "rolled_back", reason: expect.stringMatching(/^its answers are rated worse: 0\.00 of 1/) });
    expect(trial.router.activeAdapter(trial.domain)?.id).toBe(trial.incumbent);
    for (let person = 0; person < 20; person++) expect((await serve(trial, trial.domain)).adapterId).toBe(trial.incumbent);
    expect((await trial.router.getAdapter(trial.newcomer)).status).toBe("retired");
    expect(rolledBack).toHaveBeenCalledWith(
      expect.objectContaining({ adapterId: trial.newcomer, reasons: [{ criterion: "canary", verdict: "fail", message: end!.reason }] }),
    );
  });

  it("whose calls fail is rolled back without any rating", async () => {
    const trial = await onTrial();
    for (let call = 0; call < 120; call++) {
      const routing = await trial.router.route("?", { domain: trial.domain, subjectId: `caller-${call}` });
      await serve(trial, trial.domain, { subjectId: `caller-${call}`, failed: routing.adapterId === trial.newcomer });
    }
    await trial.generations.flush();
    const [end] = await trial.pipeline.canaries.look();
    expect(end).toMatchObject({
      status: "rolled_back",
      reason: expect.stringMatching(/^it fails more often: \d+ of \d+ calls, the incumbent's 0 of/),
    });
  });

  it("is not decided by one person, however often that one rates", async () => {
    const trial = await onTrial();
    const fan = Array.from({ length: 50 }, (_, index) => `fan-${index}`);
    const chosen = [];
    for (const subjectId of fan)
      if ((await trial.router.route("?", { domain: trial.domain, subjectId })).adapterId === trial.newcomer) chosen.push(subjectId);
    for (let count = 0; count < 60; count++) {
      const { id, subjectId } = await serve(trial, trial.domain, { subjectId: chosen[0]! });
      await trial.pipeline.addFeedback({ generationId: id, rating: 1, subjectId, domain: trial.domain });
    }
    await trial.pipeline.canaries.look();
    expect((await trial.pipeline.canaries.get(trial.canary.id)).evidence?.canary.ratings).toBe(1);
    // the erased person's rating still counts, and nobody can tell whose it was
    await trial.pipeline.eraseSubject(chosen[0]!);
    const rows = await store.db
      .selectFrom("canary_outcomes")
      .select(["unit", "value"])
      .where("canary_id", "=", trial.canary.id)
      .where("kind", "=", "rating")
      .execute();
    expect(rows).toEqual([{ unit: expect.stringMatching(/^erased:\d+$/), value: 1 }]);
  });

  it("that shows no difference within its time is kept from serving", async () => {
    let now = Date.now();
    const trial = await onTrial({ clock: () => now, canary: { limitMs: 60_000 } });
    const { id, subjectId } = await serve(trial, trial.domain);
    await trial.pipeline.addFeedback({ generationId: id, rating: 1, subjectId, domain: trial.domain });
    expect(await trial.pipeline.canaries.look()).toEqual([]);
    now += 61_000;
    expect(await trial.pipeline.canaries.look()).toMatchObject([
      { status: "kept", reason: expect.stringMatching(/^no difference was shown within the time limit: /) },
    ]);
    expect(trial.router.activeAdapter(trial.domain)?.id).toBe(trial.incumbent);
  });

  it("may be promoted or rolled back by hand at any time, once", async () => {
    const promoted = await onTrial();
    await promoted.pipeline.canaries.promote(promoted.canary.id, { reason: "we have seen enough" });
    expect(promoted.router.activeAdapter(promoted.domain)?.id).toBe(promoted.newcomer);
    expect(promoted.ended).toMatchObject([{ status: "promoted", reason: "we have seen enough" }]);
    await expect(promoted.pipeline.canaries.rollback(promoted.canary.id)).rejects.toMatchObject({ code: "adapter_state_conflict" });
    await expect(promoted.pipeline.canaries.rollback("none")).rejects.toMatchObject({ code: "canary_not_found" });
    const rolledBack = await onTrial();
    await rolledBack.pipeline.canaries.rollback(rolledBack.canary.id);
    expect(rolledBack.router.activeAdapter(rolledBack.domain)?.id).toBe(rolledBack.incumbent);
    expect(await rolledBack.pipeline.canaries.list({ domain: rolledBack.domain })).toMatchObject([
      { status: "rolled_back", reason: "rolled back by hand" },
    ]);
  });

  it("comes to the same verdict in whichever process looks, and is ended once", async () => {
    const trial = await onTrial();
    const others = [trial.another(), trial.another()];
    const endedElsewhere: Canary[] = [];
    for (const other of others) other.on("canary.ended", ({ canary }) => void endedElsewhere.push(canary));
    for (let count = 0; count < 120; count++) {
      const { id, subjectId, adapterId } = await serve(trial, trial.domain);
      const outcome = { canary_id: trial.canary.id, arm: adapterId === trial.newcomer ? ("canary" as const) : ("incumbent" as const) };
      await trial.store.db
        .insertInto("canary_outcomes")
        .values({ ...outcome, number: String(count + 1), kind: "rating", unit: subjectId + id, value: outcome.arm === "canary" ? 1 : 0 })
        .execute();
    }
    await Promise.all([trial.pipeline, ...others].map((pipeline) => pipeline.canaries.look()));
    expect([...trial.ended, ...endedElsewhere]).toMatchObject([{ status: "promoted" }]);
  });

  it("is what a cycle's adapter becomes where enough is rated, and what it becomes at once where too little is", async () => {
    const rooms = buildRooms(store, { canary: { minRatings: 10, share: 0.5 } });
    onTestFinished(() => rooms.router.close());
    const domain = `canary-${domains++}`;
    await addAll(rooms.pipeline, corrections(facts(30), { domain }));
    const first = await rooms.pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(first.status).toBe("promoted");
    expect(rooms.router.activeAdapter(domain)?.id).toBe(first.adapterId);
    expect(first.stages.at(-1)?.detail).toMatchObject({
      canary: { started: false, why: expect.stringMatching(/^0 people .* 10 are wanted$/) },
    });

    for (let person = 0; person < 24; person++) {
      const { id, subjectId } = await serve(rooms, domain);
      await rooms.pipeline.addFeedback({ generationId: id, rating: 1, subjectId, domain });
    }
    const started: Canary[] = [];
    rooms.pipeline.on("canary.started", ({ canary }) => void started.push(canary));
    await addAll(rooms.pipeline, corrections(facts(60).slice(30), { domain }));
    const second = await rooms.pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(second).toMatchObject({ status: "promoted", error: null });
    expect(second.stages.at(-1)?.detail).toMatchObject({ canary: { started: true, share: 0.5 } });
    expect(started).toMatchObject([{ adapterId: second.adapterId, incumbentId: first.adapterId, share: 0.5, status: "running" }]);
    expect(rooms.router.activeAdapter(domain)?.id).toBe(first.adapterId);
    expect(rooms.serving.loaded.has(second.adapterId as string)).toBe(true);
    expect((await rooms.router.getAdapter(second.adapterId as string)).status).toBe("canary");
  });
});

it("is refused options that cannot work", () => {
  const store = {} as Store;
  for (const canary of [{ share: 0 }, { share: 1 }, { alpha: 0 }, { limitMs: -1 }, { slowFactor: 1 }, { start: "sometimes" as "always" }]) {
    expect(() => buildRooms(store, { canary })).toThrow(expect.objectContaining({ code: "config_invalid" }));
  }
});
