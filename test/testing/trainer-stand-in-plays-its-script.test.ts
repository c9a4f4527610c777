import { createParser } from "eventsource-parser";
import { afterEach, describe, expect, it } from "vitest";
import { failingScript, jobScript, type StandInTrainer, startStandInTrainer } from "../../src/testing/index.js";
import type { EvaluateResult, EvaluateSpec, RuntimeEvent } from "../../src/types/runtime-protocol.js";

const spec = (job_id: string): EvaluateSpec => ({
  protocol: 1,
  kind: "evaluate",
  job_id,
  base_model: "tiny",
  models: [{ name: "baseline", adapter: null }],
  evaluation: { sets: [], distractors: 0, max_new_tokens: 8, batch_size: 1 },
  hardware: { precision: "fp32", gradient_checkpointing: false },
});
const result: EvaluateResult = { kind: "evaluate", base_model: "tiny", base_model_sha256: "0".repeat(64), seconds: {}, evaluation: [] };

async function submit(trainer: StandInTrainer, job_id: string): Promise<Response> {
  return fetch(`${trainer.url}/v1/jobs`, {
    method: "POST",
    body: JSON.stringify(spec(job_id)),
    headers: { "content-type": "application/json" },
  });
}

async function events(trainer: StandInTrainer, id: string, after = 0): Promise<{ events: RuntimeEvent[]; broken: boolean }> {
  const seen: RuntimeEvent[] = [];
  const parser = createParser({ onEvent: (event) => seen.push(JSON.parse(event.data)) });
  const response = await fetch(`${trainer.url}/v1/jobs/${id}/events`, { headers: { "last-event-id": String(after) } });
  const decoder = new TextDecoder();
  try {
    for await (const part of response.body!) parser.feed(decoder.decode(part as Uint8Array, { stream: true }));
  } catch {
    return { events: seen, broken: true };
  }
  return { events: seen, broken: false };
}

describe("the stand-in trainer", () => {
  let trainer: StandInTrainer;
  afterEach(() => trainer.close());

  it("plays the script of a job and numbers its events", async () => {
    trainer = await startStandInTrainer({ script: jobScript({ result }) });
    expect((await submit(trainer, "one")).status).toBe(201);
    const stream = await events(trainer, "one");
    expect(stream.events.map((event) => event.type)).toEqual(["phase", "phase", "result"]);
    expect(stream.events.map((event) => event.seq)).toEqual([1, 2, 3]);
    expect(trainer.job("one")?.status).toBe("completed");
  });

  it("resumes a broken event stream after the last id, without loss or repeat", async () => {
    trainer = await startStandInTrainer({ script: jobScript({ result }) });
    trainer.setFault({ kind: "drop-events", afterEvents: 1 });
    await submit(trainer, "one");
    const seen: RuntimeEvent[] = [];
    for (let tries = 0; seen.at(-1)?.type !== "result"; tries += 1) {
      expect(tries).toBeLessThan(10);
      seen.push(...(await events(trainer, "one", seen.at(-1)?.seq ?? 0)).events);
    }
    expect(seen.map((event) => event.seq)).toEqual([1, 2, 3]);
  });

  it("ends a job that never ends when it is cancelled", async () => {
    trainer = await startStandInTrainer({ script: jobScript({ result }) });
    trainer.setFault({ kind: "never-ends" });
    await submit(trainer, "one");
    const stream = events(trainer, "one");
    await fetch(`${trainer.url}/v1/jobs/one/cancel`, { method: "POST" });
    expect((await stream).events.at(-1)).toMatchObject({ type: "error", code: "cancelled" });
    expect(trainer.job("one")?.status).toBe("cancelled");
  });

  it("fails with the scripted code, refuses a bad spec by its field, and keeps files as they came", async () => {
    trainer = await startStandInTrainer({ script: failingScript("out_of_memory", "no memory left", true) });
    await submit(trainer, "one");
    expect((await events(trainer, "one")).events.at(-1)).toMatchObject({ type: "error", code: "out_of_memory", retryable: true });
    const refused = await fetch(`${trainer.url}/v1/jobs`, { method: "POST", body: JSON.stringify({ ...spec("two"), models: [] }) });
    expect(refused.status).toBe(400);
    expect((await refused.json()) as object).toMatchObject({
      error: { clara_code: "spec_invalid", message: expect.stringContaining("models") },
    });
    await fetch(`${trainer.url}/v1/files/datasets/a.jsonl`, { method: "PUT", body: '{"a":  1}\n' });
    expect(trainer.files.get("datasets/a.jsonl")).toBe('{"a":  1}\n');
    expect(await (await fetch(`${trainer.url}/v1/files/datasets/a.jsonl`)).text()).toBe('{"a":  1}\n');
  });

  it("starts a failed job again where it is asked to, with numbers that go on, and refuses another spec under its id", async () => {
    trainer = await startStandInTrainer({ script: jobScript({ result }) });
    trainer.setFault({ kind: "error", code: "internal", retryable: true });
    await submit(trainer, "one");
    expect((await events(trainer, "one")).events.map((event) => event.seq)).toEqual([1]);
    trainer.setFault(null);
    expect((await submit(trainer, "one")).status).toBe(200);
    const again = (body: object) => fetch(`${trainer.url}/v1/jobs?restart=true`, { method: "POST", body: JSON.stringify(body) });
    expect((await again({ ...spec("one"), base_model: "other" })).status).toBe(409);
    expect((await again(spec("one"))).status).toBe(201);
    expect((await events(trainer, "one", 1)).events.map((event) => event.seq)).toEqual([2, 3, 4]);
    expect(trainer.job("one")).toMatchObject({ status: "completed", last_seq: 4, error: null });
    expect(trainer.specs.length).toBe(2);
  });

  it("ends running jobs as a killed trainer does, and answers nobody while it is unreachable", async () => {
    trainer = await startStandInTrainer({ script: jobScript({ result }) });
    trainer.setFault({ kind: "never-ends" });
    await submit(trainer, "one");
    const stream = events(trainer, "one");
    trainer.setFault({ kind: "crash" });
    expect((await stream).events.at(-1)).toMatchObject({ type: "error", code: "internal", retryable: true });
    trainer.setFault({ kind: "unreachable" });
    await expect(fetch(`${trainer.url}/v1/capabilities`)).rejects.toThrow();
    trainer.setFault(null);
    expect(await (await fetch(`${trainer.url}/v1/capabilities`)).json()).toMatchObject({ protocol: 1, device: "cpu" });
  });
});
