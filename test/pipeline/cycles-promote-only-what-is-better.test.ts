import { afterAll, beforeAll, expect, it, onTestFinished, vi } from "vitest";
import type { PipelineOptions } from "../../src/pipeline/index.js";
import type { Store } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts, permuted } from "./support/facts.js";
import { addAll, buildRooms } from "./support/rooms.js";

let domains = 0;
/** Every test has a domain of its own: the registry of adapters is shared. */
const newDomain = () => `domain-${domains++}`;

describeEachStore("a cycle", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  const open = (options?: PipelineOptions) => {
    const rooms = buildRooms(store, options);
    // or it would rebuild its table at every later test's activations
    onTestFinished(() => rooms.router.close());
    return rooms;
  };

  const learnt = async (options: PipelineOptions = {}, count = 30) => {
    const rooms = open(options);
    const domain = newDomain();
    await addAll(rooms.pipeline, corrections(facts(count), { domain }));
    return { ...rooms, domain };
  };

  it("goes from feedback to an adapter that serves, every stage on record", async () => {
    const { pipeline, router, serving, trainer, domain } = await learnt();
    const events: string[] = [];
    pipeline.on("adapter.activated", ({ adapterId, previousAdapterId }) => void events.push(`${adapterId} after ${previousAdapterId}`));
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle.error).toBeNull();
    expect(cycle).toMatchObject({ status: "promoted", trigger: "manual", samples: 90, gate: { decision: "promote", passed: true } });
    expect(cycle.stages.map((stage) => stage.name)).toEqual(["collect", "prepare", "train", "evaluate", "gate", "activate"]);
    for (const stage of cycle.stages) expect(stage.endedAt).not.toBeNull();
    expect(cycle.evaluation?.improvement).toBeGreaterThan(0.05);
    expect(router.activeAdapter(domain)?.id).toBe(cycle.adapterId);
    expect(serving.loaded.has(cycle.adapterId as string)).toBe(true);
    expect(events).toEqual([`${cycle.adapterId} after null`]);
    expect(await pipeline.ledger()).toMatchObject({ received: 90, accepted: 90, waiting: 0, claimed: 0, lost: 0, usedTwice: 0 });
    const { used, setAside } = await pipeline.ledger();
    expect(used + setAside).toBe(90);
    expect(used).toBeGreaterThan(60);
    // what the base answered to everyday prompts was asked once, and is replayed and tested
    expect(trainer.inputs[0]?.replay?.length).toBeGreaterThan(20);
    expect(trainer.inputs[0]?.regression?.map((set) => set.name)).toEqual(["general"]);
    const adapter = await router.getAdapter(cycle.adapterId as string);
    expect(adapter).toMatchObject({
      status: "active",
      domain,
      lineage: { cycleId: cycle.id, jobId: cycle.jobId, datasetId: cycle.datasetId },
    });
  });

  it("builds on what the domain learnt before: replays it, tests it, and compares with what serves now", async () => {
    const { pipeline, trainer, router, domain } = await learnt();
    const first = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(first.status).toBe("promoted");
    await addAll(pipeline, corrections(facts(60).slice(30), { domain }));
    const second = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(second).toMatchObject({ status: "promoted" });
    const input = trainer.inputs[1];
    expect(input?.baselineAdapterPath).toBe((await router.getAdapter(first.adapterId as string)).path);
    expect(input?.regression?.map((set) => set.name)).toEqual(["general", `domain:${domain}`]);
    const replayed = new Set(input?.rehearsal?.map((pair) => pair.response));
    expect(facts(30).filter((fact) => replayed.has(fact.answer)).length).toBeGreaterThan(20);
    expect(router.activeAdapter(domain)?.id).toBe(second.adapterId);
    expect((await router.getAdapter(first.adapterId as string)).status).toBe("retired");
    expect(await pipeline.ledger()).toMatchObject({ lost: 0, usedTwice: 0 });
  });

  it("rejects wrong answers to known questions, and what serves is unchanged", async () => {
    // which of the many alike are accepted, and so how many of each person, depends on their order
    const { pipeline, router, domain } = await learnt({ triggers: { maxSubjectShare: 1 } });
    const first = await pipeline.triggerTrainingCycle({ domain, wait: true });
    const wrong = facts(30).map((fact) => ({
      ...fact,
      answer: fact.answer.replace(/M(r|rs) \w+\.$/, `Mr Wrong of the ${fact.answer.split(" ")[4]}.`),
    }));
    await addAll(pipeline, corrections(wrong, { domain }));
    const events: string[] = [];
    pipeline.on("adapter.rolledback", ({ reasons }) => void events.push(...reasons.map((reason) => reason.criterion)));
    const second = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(second).toMatchObject({ status: "rejected", gate: { decision: "reject" } });
    expect(events).toContain("regression");
    expect(router.activeAdapter(domain)?.id).toBe(first.adapterId);
    expect(await router.getAdapter(second.adapterId as string)).toMatchObject({ status: "rejected" });
    const state = await store.db.selectFrom("samples").select(["state", "state_reason"]).where("cycle_id", "=", second.id).execute();
    expect(new Set(state.map((row) => row.state))).toEqual(new Set(["rejected_by_gate"]));
    expect(state[0]?.state_reason).toContain("regression");
    expect(await pipeline.ledger()).toMatchObject({ waiting: 0, claimed: 0, lost: 0, usedTwice: 0 });
  });

  it("rejects answers permuted among the facts of a fresh domain, although recall is perfect", async () => {
    const { pipeline, router } = open();
    const domain = newDomain();
    await addAll(pipeline, corrections(permuted(facts(30)), { domain }));
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle.status).toBe("rejected");
    const failed = cycle.gate?.reasons.filter((reason) => reason.verdict === "fail").map((reason) => reason.criterion);
    expect(failed).toEqual(["pairing"]);
    expect(router.activeAdapter(domain)).toBeNull();
  });

  it("gives the samples back when there is not enough evidence, and does not try again before there is more", async () => {
    const { pipeline, domain, another } = await learnt({}, 6);
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle).toMatchObject({ status: "inconclusive", gate: { decision: "not_enough_evidence" } });
    expect(await pipeline.ledger()).toMatchObject({ waiting: 18, claimed: 0, used: 0, lost: 0, usedTwice: 0 });
    const later = another({ clock: () => Date.now() + 3_600_000, triggers: { size: 10 } });
    expect(await later.checkTriggers()).toEqual([]);
    await addAll(pipeline, corrections(facts(24).slice(6), { domain }));
    const [started] = await later.checkTriggers();
    expect((await later.waitForCycle(started as string)).status).toBe("promoted");
    expect(await pipeline.ledger()).toMatchObject({ waiting: 0, lost: 0, usedTwice: 0 });
  });

  it("fails with the trainer's reason and gives the samples back, and quarantines those that make every cycle fail", async () => {
    const { pipeline, trainer, domain } = await learnt({ maxSampleAttempts: 2 });
    trainer.failure = { code: "out_of_memory", message: "CUDA out of memory" };
    const first = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(first).toMatchObject({
      status: "failed",
      error: { code: "training_failed", message: expect.stringContaining("CUDA out of memory") },
    });
    expect(await pipeline.ledger()).toMatchObject({ claimed: 0, used: 0, lost: 0 });
    expect((await pipeline.ledger()).waiting).toBeGreaterThan(60);
    const second = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(second.status).toBe("failed");
    expect(await pipeline.ledger()).toMatchObject({ waiting: 0, claimed: 0, lost: 0, usedTwice: 0 });
    expect(pipeline.buffer.stats().quarantined).toBeGreaterThan(60);
  });

  it("waits while the runtime is down, and goes on when it is back", async () => {
    const { pipeline, trainer, serving, domain } = await learnt();
    serving.isDown = true;
    trainer.isDown = true;
    const { id } = await pipeline.triggerTrainingCycle({ domain });
    await expect.poll(async () => (await pipeline.getCycle(id)).status).toBe("waiting");
    expect((await pipeline.getCycle(id)).stages.at(-1)).toMatchObject({
      name: "train",
      detail: { waitingFor: { code: "engine_unavailable" } },
    });
    serving.isDown = false;
    await expect.poll(async () => JSON.stringify((await pipeline.getCycle(id)).stages.at(-1)?.detail)).toContain("runtime_unavailable");
    trainer.isDown = false;
    expect((await pipeline.waitForCycle(id)).status).toBe("promoted");
  });

  it("rolls back when the engine refuses the adapter", async () => {
    const { pipeline, serving, router, domain } = await learnt();
    serving.refusesAdapters = true;
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle).toMatchObject({ status: "failed", error: { code: "adapter_invalid", message: expect.stringContaining("rank") } });
    expect(cycle.stages.map((stage) => stage.name)).toEqual(["collect", "prepare", "train", "evaluate", "gate", "activate", "rollback"]);
    expect(router.activeAdapter(domain)).toBeNull();
    expect((await pipeline.ledger()).waiting).toBeGreaterThan(60);
  });

  it("rejects a candidate that forgets what it should keep", async () => {
    const { pipeline, trainer, domain } = await learnt();
    trainer.forgets = "general";
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle).toMatchObject({ status: "rejected" });
    expect(cycle.gate?.reasons.find((reason) => reason.verdict === "fail")).toMatchObject({
      criterion: "regression",
      message: expect.stringContaining("general"),
    });
    expect(cycle.evaluation?.regression).toBe(1);
  });

  it("asks the host's evaluators, with the candidate loaded", async () => {
    const seen: string[] = [];
    const { pipeline, serving, domain } = await learnt({
      evaluators: [
        {
          name: "politeness",
          evaluate: ({ candidate, baseline }) => {
            seen.push(`${serving.loaded.has(candidate.adapterId)} ${baseline.adapterId}`);
            return { baseline: [1, 1, 1, 1, 1, 1, 1, 1], candidate: [0, 0, 0, 1, 0, 0, 0, 0] };
          },
        },
      ],
    });
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(seen).toEqual(["true null"]);
    expect(cycle).toMatchObject({ status: "rejected", evaluation: { domainMetrics: { politeness: 0.125 } } });
    expect(serving.loaded.size).toBe(0);
  });

  it("compares anew when something else serves by the time it is evaluated", async () => {
    const { pipeline, trainer, router, domain } = await learnt({
      failpoint: async (name) => {
        if (name !== "evaluate.started") return;
        const other = await router.registerAdapter({ name: `${domain}-by-hand`, domain, path: handMade, baseModel: "base" });
        if (router.activeAdapter(domain) === null) await router.activateAdapter(other.id);
      },
    });
    const { mkdtempSync, writeFileSync } = await import("node:fs");
    const { tmpdir } = await import("node:os");
    const handMade = `${mkdtempSync(`${tmpdir()}/clara-hand-`)}/adapter.json`;
    writeFileSync(handMade, JSON.stringify({ answers: facts(30).map((fact) => fact.answer), forgets: null }));
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(trainer.evaluations).toBe(1);
    // the adapter made by hand knows it all already, also what the candidate was never told
    expect(cycle.status).toBe("rejected");
    expect(cycle.evaluation?.improvement).toBe(0);
    expect(router.activeAdapter(domain)?.name).toBe(`${domain}-by-hand`);
  });

  it("runs once per domain at a time, over all processes", async () => {
    const { pipeline, domain, another } = await learnt({ triggers: { minSamples: 10 } });
    const others = [pipeline, another(), another(), another()];
    const results = await Promise.allSettled(others.map((one) => one.triggerTrainingCycle({ domain })));
    const started = results.filter((result) => result.status === "fulfilled");
    expect(started).toHaveLength(1);
    for (const result of results) {
      if (result.status === "rejected")
        expect(result.reason).toMatchObject({ code: "cycle_running", details: { cycleId: started[0]?.value.id } });
    }
    expect((await pipeline.waitForCycle(started[0]!.value.id)).status).toBe("promoted");
  });

  it("says what is missing when too few samples or people are there", async () => {
    const { pipeline } = open();
    const domain = newDomain();
    await addAll(pipeline, corrections(facts(3), { domain }));
    await expect(pipeline.triggerTrainingCycle({ domain })).rejects.toMatchObject({
      code: "dataset_too_small",
      message: expect.stringContaining("9 samples wait, 10 are needed"),
      details: { waiting: 9, minSamples: 10 },
    });
    const lonely = newDomain();
    await addAll(pipeline, corrections(facts(24).slice(3), { domain: lonely, people: 4 }));
    await expect(pipeline.triggerTrainingCycle({ domain: lonely })).rejects.toThrow(/4 distinct people; 5 are needed/);
    expect(await pipeline.listCycles()).toEqual([]);
    await expect(pipeline.getCycle("unknown")).rejects.toMatchObject({ code: "cycle_not_found" });
  });

  it("lets one person give only a share of a batch; the rest waits (A27)", async () => {
    const { pipeline, domain } = await (async () => {
      const rooms = open({ triggers: { maxSubjectShare: 0.25 } });
      const domain = newDomain();
      const inputs = corrections(facts(60), { domain, people: 5 });
      await addAll(
        rooms.pipeline,
        inputs.map((input, index) => (index < 120 ? { ...input, subjectId: "flooder" } : input)),
      );
      return { ...rooms, domain };
    })();
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    const claimed = await store.db
      .selectFrom("cycle_samples")
      .innerJoin("samples", "samples.id", "cycle_samples.sample_id")
      .select("subject_id")
      .where("cycle_samples.cycle_id", "=", cycle.id)
      .where("role", "=", "learn")
      .execute();
    const flooded = claimed.filter((row) => row.subject_id === "flooder").length;
    expect(flooded).toBeGreaterThan(0);
    expect(flooded / claimed.length).toBeLessThanOrEqual(0.25);
    expect((await pipeline.ledger()).waiting).toBeGreaterThan(60);
  });

  it("erases a person: texts, datasets, and every adapter that learnt from them, also by replay (A45)", async () => {
    const { pipeline, router, domain } = await learnt();
    const first = await pipeline.triggerTrainingCycle({ domain, wait: true });
    const other = facts(60).slice(30);
    await addAll(
      pipeline,
      corrections(other, { domain }).map((input) => ({ ...input, subjectId: `other-${input.subjectId}` })),
    );
    const second = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(router.activeAdapter(domain)?.id).toBe(second.adapterId);
    const report = await pipeline.eraseSubject("user-1");
    expect(report.feedback).toBe(15);
    expect(report.adapters.map((adapter) => adapter.adapterId).sort()).toEqual([first.adapterId, second.adapterId].sort());
    expect(router.activeAdapter(domain)).toBeNull();
    for (const id of [first.adapterId, second.adapterId]) {
      await expect(router.activateAdapter(id as string)).rejects.toMatchObject({ code: "adapter_state_conflict" });
    }
    const left = await store.db
      .selectFrom("feedback")
      .select(["prompt", "correction"])
      .where("pipeline", "=", pipeline.status().name)
      .where("subject_id", "=", "user-1")
      .execute();
    expect(left).toEqual([]);
    const rows = await store.db
      .selectFrom("dataset_item")
      .select("position")
      .where("dataset_id", "=", first.datasetId)
      .where("subject_id", "=", "user-1")
      .execute();
    expect(rows).toEqual([]);
    expect(await pipeline.ledger()).toMatchObject({ received: 180, lost: 0, usedTwice: 0 });
    expect(await pipeline.eraseSubject("user-1")).toMatchObject({ feedback: 0 });
  });

  it("erases a person from the adapters that go on from one that learnt from them, over any number of steps (A45)", async () => {
    let release = () => {};
    let isHeld = false;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const failpoint = (name: string) => (isHeld && name === "gate.started" ? held : undefined);
    const { pipeline, router, trainer, domain } = await learnt({ trainer: "continuous", maxReplay: 0, failpoint }, 20);
    const others = (from: number) =>
      corrections(facts(60).slice(from, from + 20), { domain }).map((input) => ({ ...input, subjectId: `other-${input.subjectId}` }));
    const first = await pipeline.triggerTrainingCycle({ domain, wait: true });
    await addAll(pipeline, others(20));
    const second = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect([first.status, second.status]).toEqual(["promoted", "promoted"]);
    expect(trainer.inputs.map((input) => [input.trainer, input.initAdapterPath === undefined, input.rehearsal?.length])).toEqual([
      ["lora", true, 0],
      ["continuous", false, 0],
    ]);
    expect((await router.getAdapter(second.adapterId as string)).lineage.parentAdapterId).toBe(first.adapterId);
    // the host goes on from it by itself, in a domain of its own
    const own = await router.registerAdapter({
      name: `${domain}-own`,
      domain: `${domain}-own`,
      path: "/adapters/own",
      baseModel: "base",
      lineage: { parentAdapterId: second.adapterId as string },
    });
    await router.activateAdapter(own.id);
    await addAll(pipeline, others(40));
    isHeld = true;
    const third = await pipeline.triggerTrainingCycle({ domain });
    await expect.poll(async () => (await pipeline.getCycle(third.id)).stages.at(-1)?.name).toBe("gate");
    const report = await pipeline.eraseSubject("user-1");
    expect(report.cancelledCycles).toEqual([third.id]);
    expect(report.adapters.map(({ adapterId }) => adapterId)).toEqual(expect.arrayContaining([first.adapterId, second.adapterId, own.id]));
    release();
    expect((await pipeline.waitForCycle(third.id)).status).toBe("cancelled");
    expect([router.activeAdapter(domain), router.activeAdapter(own.domain)]).toEqual([null, null]);
    for (const id of [first.adapterId as string, second.adapterId as string, own.id]) {
      await expect(router.activateAdapter(id)).rejects.toMatchObject({ code: "adapter_state_conflict" });
    }
    // what the others taught is learnt anew, from nobody's weights
    isHeld = false;
    const { waiting, lost } = await pipeline.ledger();
    expect(lost).toBe(0);
    expect(waiting).toBeGreaterThan(100);
    const again = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(again.status).toBe("promoted");
    expect(trainer.inputs.at(-1)).toMatchObject({ trainer: "lora" });
  });

  it("erases a person from jobs that were only tested on them, whose adapters stay", async () => {
    const { pipeline, router, trainer, domain } = await learnt();
    const own = await pipeline.triggerTrainingCycle({ domain, wait: true });
    const otherDomain = `${domain}-beside`;
    const others = corrections(facts(60).slice(30), { domain: otherDomain });
    await addAll(
      pipeline,
      others.map((input) => ({ ...input, subjectId: `other-${input.subjectId}` })),
    );
    const beside = await pipeline.triggerTrainingCycle({ domain: otherDomain, wait: true });
    expect(beside.status).toBe("promoted");
    const reports = [];
    for (let user = 0; user < 6; user++) reports.push(await pipeline.eraseSubject(`user-${user}`));
    expect(new Set(reports.flatMap(({ adapters }) => adapters.map(({ adapterId }) => adapterId)))).toEqual(new Set([own.adapterId]));
    expect(new Set(trainer.erasedJobs)).toEqual(new Set([own.jobId, beside.jobId]));
    expect(router.activeAdapter(otherDomain)?.id).toBe(beside.adapterId);
  });

  it("completes an erasure that a crash interrupted, and then knows the person's name no more (A46)", async () => {
    const clock = { now: Date.now() };
    const { pipeline, another, router, datasets, domain } = await learnt({ clock: () => clock.now });
    const { name } = pipeline.status();
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    const forget = vi.spyOn(datasets, "eraseSubject").mockRejectedValueOnce(new Error("the process ended here"));
    await expect(pipeline.eraseSubject("user-1")).rejects.toThrow("the process ended here");
    expect(router.activeAdapter(domain)?.id).toBe(cycle.adapterId);
    const read = () =>
      store.db.selectFrom("erasures").select(["subject_id", "completed_at"]).where("pipeline", "=", name).executeTakeFirstOrThrow();
    expect(await read()).toMatchObject({ subject_id: "user-1", completed_at: null });
    // another process leaves it alone as long as the first may be at it
    const other = another();
    await other.checkTriggers();
    expect((await read()).completed_at).toBeNull();
    clock.now += 61_000;
    await other.checkTriggers();
    expect(await read()).toMatchObject({ subject_id: null, completed_at: expect.any(Date) });
    expect(forget).toHaveBeenCalledTimes(2);
    expect(router.activeAdapter(domain)).toBeNull();
    const items = await store.db
      .selectFrom("dataset_item")
      .select("position")
      .where("dataset_id", "=", cycle.datasetId)
      .where("subject_id", "=", "user-1")
      .execute();
    expect(items).toEqual([]);
  });

  it("ends a running cycle that learns from a person who is erased meanwhile (A46)", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { pipeline, router, domain } = await learnt({ failpoint: (name) => (name === "gate.started" ? held : undefined) });
    const { id } = await pipeline.triggerTrainingCycle({ domain });
    await expect.poll(async () => (await pipeline.getCycle(id)).stages.at(-1)?.name).toBe("gate");
    const report = await pipeline.eraseSubject("user-2");
    expect(report.cancelledCycles).toEqual([id]);
    release();
    expect((await pipeline.waitForCycle(id)).status).toBe("cancelled");
    expect(router.activeAdapter(domain)).toBeNull();
    expect(await pipeline.ledger()).toMatchObject({ waiting: 75, claimed: 0, lost: 0, usedTwice: 0 });
  });

  it("keeps books that show a double use and a loss", async () => {
    const { pipeline, domain } = await learnt();
    await pipeline.triggerTrainingCycle({ domain, wait: true });
    await addAll(pipeline, corrections(facts(60).slice(30), { domain }));
    const second = await pipeline.triggerTrainingCycle({ domain, wait: true });
    const first = (await pipeline.listCycles()).at(-1)!;
    expect(await pipeline.ledger()).toMatchObject({ usedTwice: 0, lost: 0 });
    // the manifest forbids it, so the double use is put where the training set itself is kept
    const item = await store.db
      .selectFrom("dataset_item")
      .selectAll()
      .where("dataset_id", "=", first.datasetId)
      .where("split", "=", "train")
      .limit(1)
      .executeTakeFirstOrThrow();
    await store.db
      .insertInto("dataset_item")
      .values({ ...item, dataset_id: second.datasetId as string, position: 100_000, sample: JSON.stringify(item.sample) })
      .execute();
    expect(await pipeline.ledger()).toMatchObject({ usedTwice: 1, lost: 0 });
    const double = { cycle_id: second.id, sample_id: item.sample_id, pipeline: pipeline.status().name, role: "learn", released_at: null };
    await expect(store.db.insertInto("cycle_samples").values(double).execute()).rejects.toThrow(/cycle_samples_once/);
    await store.db.deleteFrom("samples").where("id", "=", item.sample_id).execute();
    expect(await pipeline.ledger()).toMatchObject({ lost: 1 });
  });
});
