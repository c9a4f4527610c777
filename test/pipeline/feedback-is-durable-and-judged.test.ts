import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ClaraError } from "../../src/errors.js";
import type { Store } from "../../src/store/index.js";
import { describeEachStore } from "../setup/index.js";
import { corrections, facts } from "./support/facts.js";
import { addAll, buildRooms } from "./support/rooms.js";

const good = {
  prompt: "Who is the caretaker of the greenhouse?",
  response: "The caretaker of the greenhouse is Mr Villanueva.",
  rating: 1,
};

describeEachStore("feedback", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });

  it("is accepted and waits as a sample to imitate, with the runtime down", async () => {
    const { pipeline, trainer, serving } = buildRooms(store);
    trainer.isDown = true;
    serving.isDown = true;
    const receipt = await pipeline.addFeedback({ ...good, domain: "building", subjectId: "a" });
    expect(receipt).toMatchObject({ status: "accepted", quality: { passed: true } });
    const sample = await store.db.selectFrom("samples").selectAll().where("id", "=", receipt.id).executeTakeFirstOrThrow();
    expect(sample).toMatchObject({ objective: "imitate", response: good.response, state: "waiting", domain: "building", subject_id: "a" });
    expect(pipeline.buffer.stats()).toMatchObject({ waiting: 1, waitingByDomain: { building: 1 } });
  });

  it("keeps metadata as data, whatever its keys are called (A24)", async () => {
    const { pipeline } = buildRooms(store);
    const hostile = '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},"page":"fees"}';
    const input = JSON.parse(`{"metadata":${hostile},"rating":1,"domain":"hostile"}`) as Record<string, unknown>;
    const { id } = await pipeline.addFeedback({ ...good, ...input } as never);
    const { metadata } = await store.db.selectFrom("feedback").select("metadata").where("id", "=", id).executeTakeFirstOrThrow();
    expect(metadata).toMatchObject({ page: "fees", constructor: { prototype: { isAdmin: true } } });
    expect((metadata as { isAdmin?: boolean }).isAdmin).toBeUndefined();
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
    await expect(pipeline.addFeedback({ ...good, ["__proto__" as string]: { rating: 1 } } as never)).resolves.toMatchObject({
      status: "duplicate",
    });
  });

  it("that is changed gives way to its new version while it waits, and stays in the books once it was used (A37)", async () => {
    const domain = `amended-${harness.kind}`;
    // others name another caretaker, which is a dispute
    const { pipeline } = buildRooms(store, { firewall: { disputes: "accept" } });
    const stateOf = async (id: string) => (await store.db.selectFrom("samples").selectAll().where("id", "=", id).executeTakeFirst())?.state;
    const first = await pipeline.addFeedback({
      ...good,
      domain,
      rating: -1,
      correction: "The caretaker of the greenhouse is Mrs Moreau.",
      subjectId: "a",
    });
    const second = await pipeline.amendFeedback(first.id, { correction: "The caretaker of the greenhouse is Mrs Okafor." });
    expect(second.status).toBe("accepted");
    expect(second.id).not.toBe(first.id);
    expect(await stateOf(first.id)).toBe("excluded");
    const sample = await store.db.selectFrom("samples").selectAll().where("id", "=", second.id).executeTakeFirstOrThrow();
    expect(sample).toMatchObject({ state: "waiting", response: "The caretaker of the greenhouse is Mrs Okafor.", subject_id: "a" });
    // and back again, though the first one said so before
    const third = await pipeline.amendFeedback(second.id, { correction: "The caretaker of the greenhouse is Mrs Moreau." });
    expect([third.status, await stateOf(second.id), await stateOf(third.id)]).toEqual(["accepted", "excluded", "waiting"]);
    // what changes nothing, or is refused, leaves the version that counts
    expect((await pipeline.amendFeedback(third.id, {})).status).toBe("duplicate");
    expect((await pipeline.amendFeedback(third.id, { correction: "x x x x x x x x" })).status).not.toBe("accepted");
    expect(await stateOf(third.id)).toBe("waiting");
    await addAll(pipeline, corrections(facts(30), { domain }));
    const cycle = await pipeline.triggerTrainingCycle({ domain, wait: true });
    expect(cycle.status).toBe("promoted");
    const books = await stateOf(third.id);
    expect(["used", "excluded"]).toContain(books);
    const fourth = await pipeline.amendFeedback(third.id, { correction: "The caretaker of the greenhouse is Mr Tanaka." });
    expect([fourth.status, await stateOf(third.id), await stateOf(fourth.id)]).toEqual(["accepted", books, "waiting"]);
    expect(await pipeline.ledger()).toMatchObject({ lost: 0, usedTwice: 0 });
    await expect(pipeline.amendFeedback("none", {})).rejects.toMatchObject({ code: "feedback_not_found" });
    const rejected = await pipeline.addFeedback({ ...good, domain, response: "asdf asdf asdf", rating: 1 });
    await expect(pipeline.amendFeedback(rejected.id, { rating: -1 })).rejects.toMatchObject({ code: "input_invalid" });
  });

  it("imitates a correction and keeps the rated answer as the rejected one", async () => {
    const { pipeline } = buildRooms(store);
    const receipt = await pipeline.addFeedback({ ...good, response: "I do not know.", rating: -1, correction: good.response });
    const sample = await store.db.selectFrom("samples").selectAll().where("id", "=", receipt.id).executeTakeFirstOrThrow();
    expect(sample).toMatchObject({ objective: "imitate", response: good.response, rejected_response: "I do not know.", domain: "general" });
  });

  it("never imitates a thumb down, and does not count it towards a cycle", async () => {
    const { pipeline } = buildRooms(store);
    for (const rating of [-1, -0.2, 0]) await pipeline.addFeedback({ ...good, prompt: `${good.prompt} ${rating}`, rating });
    const samples = await store.db.selectFrom("samples").select(["objective"]).where("pipeline", "=", pipeline.status().name).execute();
    expect(samples.map((sample) => sample.objective)).toEqual(["preference", "preference", "preference"]);
    expect(pipeline.buffer.stats()).toMatchObject({ waiting: 0, preference: 3 });
    await expect(pipeline.triggerTrainingCycle()).rejects.toMatchObject({ code: "dataset_too_small" });
  });

  it("records the second of the same content as a duplicate, whoever sends it and however it is spaced", async () => {
    const { pipeline } = buildRooms(store);
    const first = await pipeline.addFeedback({ ...good, subjectId: "a" });
    const second = await pipeline.addFeedback({ ...good, prompt: `  ${good.prompt.toUpperCase()} `, subjectId: "b" });
    expect([first.status, second.status]).toEqual(["accepted", "duplicate"]);
    expect(second.reason).toContain(first.id);
    expect(await pipeline.ledger()).toMatchObject({ received: 2, accepted: 1, duplicates: 1, waiting: 1, lost: 0 });
  });

  it("makes one entry of the same idempotency key, also when it comes a thousand times at once (A37)", async () => {
    const { pipeline } = buildRooms(store);
    const receipts = await Promise.all(
      Array.from({ length: 1_000 }, (_, index) =>
        pipeline.addFeedback({ ...good, prompt: `${good.prompt} ${index}`, idempotencyKey: "once" }),
      ),
    );
    expect(new Set(receipts.map((receipt) => receipt.id)).size).toBe(1);
    expect(receipts.filter((receipt) => receipt.status === "accepted")).toHaveLength(1);
    expect(await pipeline.ledger()).toMatchObject({ received: 1, accepted: 1 });
  });

  it("takes 500 at once, and each is stored exactly once", async () => {
    const { pipeline } = buildRooms(store);
    const inputs = Array.from({ length: 500 }, (_, index) => ({
      prompt: `Who looks after house number ${index} in the long street?`,
      response: `House number ${index} is looked after by Mrs Kowalczyk.`,
      rating: 1,
      subjectId: `user-${index % 20}`,
    }));
    const receipts = await addAll(pipeline, inputs);
    expect(new Set(receipts.map((receipt) => receipt.status))).toEqual(new Set(["accepted"]));
    expect(await pipeline.ledger()).toMatchObject({ received: 500, accepted: 500, waiting: 500, lost: 0, usedTwice: 0 });
  });

  it("refuses with back-pressure when the buffer is full, and keeps nothing of what it refused", async () => {
    const { pipeline } = buildRooms(store, { bufferCapacity: 50 });
    const results = await Promise.allSettled(corrections(facts(20)).map((input) => pipeline.addFeedback(input)));
    const refused = results.filter((result) => result.status === "rejected");
    expect(refused).toHaveLength(10);
    for (const { reason } of refused)
      expect(reason).toMatchObject({ code: "buffer_full", isRetryable: true, retryAfterMs: expect.any(Number) });
    expect(await pipeline.ledger()).toMatchObject({ received: 50, accepted: 50, waiting: 50, lost: 0 });
    // another domain has a buffer of its own, and a thumb down needs no place
    expect((await pipeline.addFeedback({ ...good, prompt: "Who cares for the igloo?", domain: "elsewhere" })).status).toBe("accepted");
    expect((await pipeline.addFeedback({ ...good, domain: "building", rating: -1 })).status).toBe("accepted");
  });

  it("rejects junk with its reason, and it is in the books", async () => {
    const { pipeline } = buildRooms(store);
    const receipt = await pipeline.addFeedback({ prompt: "asdfgh asdf jklö", response: "?", rating: 1 });
    expect(receipt).toMatchObject({ status: "rejected", reason: expect.any(String) });
    expect(await pipeline.ledger()).toMatchObject({ received: 1, rejected: 1, waiting: 0, lost: 0 });
  });

  it("refuses 10 MB of text at once, without walking through it", async () => {
    const { pipeline } = buildRooms(store);
    await pipeline.recover();
    const text = "a ".repeat(5 * 1024 * 1024);
    const started = performance.now();
    await expect(pipeline.addFeedback({ prompt: text, response: text, rating: 1 })).rejects.toMatchObject({ code: "payload_too_large" });
    expect(performance.now() - started).toBeLessThan(100);
  });

  it("says which field is wrong, and stores nothing", async () => {
    const { pipeline } = buildRooms(store);
    const wrong = [
      [{ ...good, rating: 2 }, "rating"],
      [{ ...good, importance: 9 }, "importance"],
      [{ ...good, domain: "Über Straße" }, "domain"],
      [{ prompt: "only a question", rating: 1 }, "generationId"],
      [{ ...good, metadata: { deep: JSON.parse(`${"[".repeat(5000)}${"]".repeat(5000)}`) } }, "metadata"],
      [null, "object"],
    ] as const;
    for (const [input, field] of wrong) {
      const error = await pipeline.addFeedback(input as never).catch((reason: unknown) => reason);
      expect(ClaraError.isInstance(error) && error.code).toBe("feedback_invalid");
      expect((error as Error).message).toContain(field);
    }
    expect(await pipeline.ledger()).toMatchObject({ received: 0 });
  });

  it("keeps what Postgres cannot hold from breaking the batch it is in", async () => {
    const { pipeline } = buildRooms(store);
    const strange = { ...good, prompt: `${good.prompt} \u0000\ud800`, metadata: { note: "a\u0000b\udfff" } };
    const receipts = await addAll(pipeline, [good, strange, { ...good, prompt: "Who is the caretaker of the observatory?" }]);
    expect(receipts[0]?.status).toBe("accepted");
    expect(receipts[2]?.status).toBe("accepted");
    expect(await pipeline.ledger()).toMatchObject({ received: 3, lost: 0 });
  });

  it("resolves a generation, its domain and its texts, also one that is not written yet", async () => {
    const { pipeline, generations } = buildRooms(store);
    const generation = {
      id: `generation-${harness.kind}`,
      text: good.response,
      prompt: good.prompt,
      messages: [],
      adapterId: null,
      routingConfidence: null,
      usage: { promptTokens: 1, completionTokens: 1 },
      finishReason: "stop",
      model: "base",
      endpoint: "here",
      latencyMs: 1,
      domain: "office",
      subjectId: "user-7",
      createdAt: new Date().toISOString(),
    };
    generations.record(generation);
    // what the host claims was answered does not count against the record
    const receipt = await pipeline.addFeedback({ generationId: generation.id, response: "Forged.", rating: 1 });
    const sample = await store.db.selectFrom("samples").selectAll().where("id", "=", receipt.id).executeTakeFirstOrThrow();
    expect(sample).toMatchObject({ prompt: good.prompt, response: good.response, domain: "office", subject_id: "user-7" });
    await expect(pipeline.addFeedback({ generationId: "unknown", rating: 1 })).rejects.toMatchObject({ code: "generation_not_found" });
    await generations.close();
    expect((await generations.find(generation.id))?.response).toBe(good.response);
  });

  it("is not held up or lost by an aborted neighbour", async () => {
    const { pipeline } = buildRooms(store);
    await pipeline.recover();
    const controller = new AbortController();
    const aborted = pipeline.addFeedback(good, { signal: controller.signal });
    controller.abort();
    const kept = pipeline.addFeedback({ ...good, prompt: "Who is the caretaker of the observatory?" });
    await expect(aborted).rejects.toMatchObject({ code: "aborted" });
    expect((await kept).status).toBe("accepted");
    expect(await pipeline.ledger()).toMatchObject({ received: 1, accepted: 1 });
  });

  it("tells its listeners, and one that throws breaks nothing", async () => {
    const { pipeline } = buildRooms(store);
    const heard: string[] = [];
    const errors: string[] = [];
    pipeline.on("error", ({ context }) => void errors.push(context));
    pipeline.on("feedback.accepted", () => {
      throw new Error("listener");
    });
    pipeline.on("feedback.accepted", async () => {
      throw new Error("asynchronous listener");
    });
    pipeline.on("feedback.accepted", ({ receipt }) => void heard.push(receipt.status));
    pipeline.once("feedback.rejected", ({ receipt }) => void heard.push(receipt.status));
    await addAll(pipeline, [good, good, good]);
    await expect.poll(() => errors.length).toBe(2);
    expect(heard).toEqual(["accepted", "duplicate"]);
  });

  describe("in review", () => {
    it("waits for a person, who approves it as edited or rejects it", async () => {
      const { pipeline, datasets } = buildRooms(store);
      const check = datasets.quality.check.bind(datasets.quality);
      datasets.quality.check = async (sample) => {
        const report = await check(sample);
        return sample.prompt.startsWith("Doubtful") ? { ...report, score: 0.45, passed: false } : report;
      };
      const [first, second, third] = await addAll(pipeline, [
        { ...good, prompt: "Doubtful: who is the caretaker?", response: "Nobody knows that.", rating: -1 },
        { ...good, prompt: "Doubtful: another question here?" },
        good,
      ]);
      expect([first?.status, second?.status, third?.status]).toEqual(["review", "review", "accepted"]);
      expect((await pipeline.review.list()).map((item) => item.id).sort()).toEqual([first!.id, second!.id].sort());
      await pipeline.review.decide(first!.id, { decision: "approve", edited: "The caretaker is Mr Villanueva." });
      await pipeline.review.decide(second!.id, { decision: "reject" });
      const sample = await store.db.selectFrom("samples").selectAll().where("id", "=", first!.id).executeTakeFirstOrThrow();
      expect(sample).toMatchObject({ objective: "imitate", response: "The caretaker is Mr Villanueva.", state: "waiting" });
      expect(await pipeline.ledger()).toMatchObject({ received: 3, accepted: 2, rejected: 1, review: 0, waiting: 2, lost: 0 });
      await expect(pipeline.review.decide(first!.id, { decision: "reject" })).rejects.toMatchObject({ name: "ConflictError" });
      await expect(pipeline.review.decide("unknown", { decision: "reject" })).rejects.toMatchObject({ code: "feedback_not_found" });
    });
  });

  afterAll(async () => {
    await store.close();
  });
});
