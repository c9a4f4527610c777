import { afterAll, beforeAll, expect, it } from "vitest";
import { ExplorationOutcomes, GenerationLog } from "../../src/pipeline/index.js";
import type { Store } from "../../src/store/index.js";
import type { RecordedGeneration } from "../../src/types/generation.js";
import { describeEachStore } from "../setup/index.js";
import { buildRooms } from "./support/rooms.js";

const generation = (id: string): RecordedGeneration => ({
  id,
  text: "The caretaker is Mrs Moreau.",
  prompt: "Who is the caretaker of the belfry?",
  messages: [],
  adapterId: "building@v1",
  routingConfidence: 0.9,
  routing: {
    id: "decision-1",
    adapterId: "building@v1",
    confidence: 0.9,
    strategy: "domain",
    domain: "building",
    candidates: [],
    propensity: 1,
  },
  usage: { promptTokens: 3, completionTokens: 4 },
  finishReason: "stop",
  model: "base",
  endpoint: "here",
  latencyMs: 3,
  subjectId: "user-9",
  createdAt: new Date().toISOString(),
});

describeEachStore("the generation log", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
  });

  it("finds a generation at once, and after it is written", async () => {
    const log = new GenerationLog({ store, batchMs: 10_000 });
    log.record(generation("log-1"));
    const expected = {
      id: "log-1",
      prompt: "Who is the caretaker of the belfry?",
      domain: "building",
      decisionId: "decision-1",
      subjectId: "user-9",
    };
    expect(await log.find("log-1")).toMatchObject(expected);
    await log.flush();
    expect(await new GenerationLog({ store }).find("log-1")).toMatchObject(expected);
    expect(await log.find("unknown")).toBeNull();
    await log.close();
  });

  it("keeps the decision with its propensity, the usage and the latency", async () => {
    const log = new GenerationLog({ store, batchMs: 10_000 });
    log.record(generation("log-facts"));
    await log.flush();
    const row = await store.db.selectFrom("generations").selectAll().where("id", "=", "log-facts").executeTakeFirstOrThrow();
    expect(row).toMatchObject({ prompt_tokens: 3, completion_tokens: 4, latency_ms: 3, finish_reason: "stop" });
    expect(row.decision).toEqual(generation("log-facts").routing);
    await log.close();
  });

  it("tells the router what ratings say of decisions that were left to chance, of several the last", async () => {
    const { pipeline, generations } = buildRooms(store);
    const load = () => new ExplorationOutcomes({ store }).load();
    const before = new Map((await load()).map((arm) => [arm.adapterId, arm]));
    const chance = (id: string, adapterId: string | null, propensity: number): RecordedGeneration => ({
      ...generation(id),
      prompt: `Who is the caretaker of building ${id}?`,
      adapterId,
      routing: { ...generation(id).routing!, adapterId, propensity },
    });
    generations.record(chance("explored-1", "explored@v1", 0.3));
    generations.record(chance("explored-2", "explored@v1", 0.4));
    generations.record(chance("certain-1", "explored@v1", 1));
    generations.record(chance("fallback-1", null, 0.7));
    await generations.flush();
    const rate = (generationId: string, rating: number, comment?: string) => pipeline.addFeedback({ generationId, rating, comment });
    for (const [id, rating] of [
      ["explored-1", -1],
      ["explored-1", 1],
      ["explored-2", 0],
      ["certain-1", 1],
      ["fallback-1", -1],
    ] as const)
      await rate(id, rating);
    const after = new Map((await load()).map((arm) => [arm.adapterId, arm]));
    expect(after.get("explored@v1")).toEqual({ adapterId: "explored@v1", count: 2, rewardSum: 1.5 });
    expect(after.get(null)!.count - (before.get(null)?.count ?? 0)).toBe(1);
  });

  it("writes behind by itself, a thousand in a few batches", async () => {
    const log = new GenerationLog({ store, batchMs: 20 });
    for (let index = 0; index < 1000; index++) log.record(generation(`log-many-${index}`));
    const written = async () =>
      Number(
        (
          await store.db
            .selectFrom("generations")
            .select(({ fn }) => fn.countAll<string>().as("count"))
            .where("id", "like", "log-many-%")
            .executeTakeFirstOrThrow()
        ).count,
      );
    await expect.poll(written, { timeout: 10_000 }).toBe(1000);
    await log.close();
  });

  it("keeps no texts where only hashes are wanted, and checks those that feedback brings", async () => {
    const log = new GenerationLog({ store, texts: "hash" });
    log.record(generation("log-hash"));
    await log.close();
    const row = await store.db.selectFrom("generations").selectAll().where("id", "=", "log-hash").executeTakeFirstOrThrow();
    expect(row).toMatchObject({ prompt: null, response: null, text_hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const { pipeline } = buildRooms(store);
    await expect(pipeline.addFeedback({ generationId: "log-hash", rating: 1 })).rejects.toMatchObject({ code: "feedback_invalid" });
    const texts = { prompt: generation("x").prompt, response: generation("x").text };
    await expect(pipeline.addFeedback({ generationId: "log-hash", rating: 1, ...texts, response: "Forged." })).rejects.toMatchObject({
      code: "feedback_invalid",
    });
    expect((await pipeline.addFeedback({ generationId: "log-hash", rating: 1, ...texts })).status).toBe("accepted");
  });

  it("never blocks or throws, drops the oldest past its limit, and writes the rest when the database is back", async () => {
    const warnings: string[] = [];
    const record = (_data: object, message?: string) => void warnings.push(message ?? "");
    const log = new GenerationLog({
      store,
      batchMs: 5,
      maxPending: 3,
      logger: { debug: record, info: record, warn: record, error: record },
    });
    for (let index = 0; index < 5; index++) log.record(generation(`log-full-${index}`));
    expect(await log.find("log-full-0")).toBeNull();
    expect(await log.find("log-full-4")).not.toBeNull();
    expect(warnings).toHaveLength(1);
    await log.close();
  });

  it("deletes what is older than it keeps, but for what feedback names, which a started pipeline asks for", async () => {
    const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
    const { pipeline, generations } = buildRooms(store, { triggers: { intervalMs: 20 } });
    for (const [id, days] of [
      ["log-old", 31],
      ["log-old-rated", 31],
      ["log-recent", 29],
    ] as const)
      generations.record({ ...generation(id), prompt: `Who is the caretaker of ${id}?`, createdAt: daysAgo(days) });
    await generations.flush();
    await pipeline.addFeedback({ generationId: "log-old-rated", rating: 1 });
    await pipeline.start();
    await expect.poll(() => generations.find("log-old")).toBeNull();
    await pipeline.stop();
    expect(await generations.find("log-old-rated")).not.toBeNull();
    expect(await generations.find("log-recent")).not.toBeNull();
    await expect(pipeline.addFeedback({ generationId: "log-old", rating: 1 })).rejects.toMatchObject({ code: "generation_not_found" });
    const all = new GenerationLog({ store, keepDays: Number.POSITIVE_INFINITY });
    expect(await all.expire()).toBe(0);
    expect(await new GenerationLog({ store, keepDays: 28 }).expire()).toBe(1);
    expect(await generations.find("log-recent")).toBeNull();
    for (const keepDays of [0, -1, Number.NaN]) {
      expect(() => new GenerationLog({ store, keepDays })).toThrow(expect.objectContaining({ code: "config_invalid" }));
    }
  });

  it("deletes a thousand at a time", async () => {
    const createdAt = new Date(Date.now() - 100 * 86_400_000).toISOString();
    const log = new GenerationLog({ store });
    for (let index = 0; index < 1_001; index++) log.record({ ...generation(`log-expired-${index}`), createdAt });
    await log.close();
    expect([await log.expire(), await log.expire(), await log.expire()]).toEqual([1_000, 1, 0]);
  });

  it("forgets a person", async () => {
    const log = new GenerationLog({ store });
    log.record({ ...generation("log-erase-1"), subjectId: "erased" });
    await log.flush();
    log.record({ ...generation("log-erase-2"), subjectId: "erased" });
    expect(await log.eraseSubject("erased")).toBe(1);
    await log.flush();
    expect(await log.find("log-erase-1")).toBeNull();
    expect(await log.find("log-erase-2")).toBeNull();
  });

  it("forgets a person of one tenant, and nobody of the same name elsewhere", async () => {
    const log = new GenerationLog({ store });
    const records = ["ulm", "bonn", null].map((tenant) => ({
      ...generation(`log-erase-${tenant}`),
      subjectId: "namesake",
      ...(tenant === null ? {} : { metadata: { tenant } }),
    }));
    for (const record of records) log.record(record);
    await log.flush();
    log.record({ ...records[0]!, id: "log-erase-ulm-pending" });
    log.record({ ...records[1]!, id: "log-erase-bonn-pending" });
    expect(await log.eraseSubject("namesake", { tenant: "ulm" })).toBe(1);
    await log.flush();
    const left = ["ulm", "ulm-pending", "bonn", "bonn-pending", "null"].map((name) => log.find(`log-erase-${name}`));
    expect((await Promise.all(left)).map((found) => found?.id)).toEqual([
      undefined,
      undefined,
      "log-erase-bonn",
      "log-erase-bonn-pending",
      "log-erase-null",
    ]);
  });
});
