import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type RecordedGeneration, ServingClient } from "../../src/client/index.js";
import { AbortedError } from "../../src/errors.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

const PROMPTLY_MS = 100;

/** The fastest of a few tries: the machine's own pauses are not what is measured, and without the abort no try would ever end. */
async function fastestOf(tries: number, once: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < tries; count += 1) times.push(await once());
  return Math.min(...times);
}

describe("an abort", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  let records: RecordedGeneration[];

  beforeEach(async () => {
    records = [];
    engine = await startStandInEngine({ answer: () => "one two three four five", faults: [{ kind: "stall", afterTokens: 2 }] });
    serving = new ServingClient({ endpoints: [engine.url], recorder: { record: (generation) => records.push(generation) } });
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  /** Milliseconds from `since` until the engine saw its last request end. */
  async function endSeen(since: number): Promise<number> {
    await vi.waitFor(() => expect(engine.questions.at(-1)?.state).toBe("aborted"), { interval: 1, timeout: 5_000 });
    await vi.waitFor(() => expect(engine.openConnections).toBeLessThanOrEqual(1));
    return engine.questions.at(-1)!.endedAt! - since;
  }

  it("in the middle of a stream reaches the engine within 100 ms and is recorded as aborted", async () => {
    const once = async () => {
      const controller = new AbortController();
      const stream = serving.stream({ prompt: "?" }, { signal: controller.signal });
      let abortedAt = 0;
      let text = "";
      const reading = (async () => {
        for await (const chunk of stream) {
          text += chunk.text;
          if (text !== "one two") continue;
          setImmediate(() => {
            abortedAt = performance.now();
            controller.abort(new Error("the user left"));
          });
        }
      })();
      await expect(reading).rejects.toThrow(AbortedError);
      await expect(stream.result).rejects.toMatchObject({ code: "aborted", cause: { message: "the user left" } });
      expect(records.at(-1)).toMatchObject({ id: stream.id, text: "one two", finishReason: "aborted", usage: { completionTokens: 2 } });
      return endSeen(abortedAt);
    };
    expect(await fastestOf(5, once)).toBeLessThan(PROMPTLY_MS);
    expect(records.length).toBe(5);
  });

  it("before the headers reaches the engine within 100 ms", async () => {
    engine.setFault({ kind: "slow-headers" });
    const once = async () => {
      const controller = new AbortController();
      const sent = engine.questions.length;
      const reply = serving.generate({ prompt: "?" }, { signal: controller.signal });
      const settled = expect(reply).rejects.toThrow(AbortedError);
      await vi.waitFor(() => expect(engine.questions.length).toBe(sent + 1));
      const abortedAt = performance.now();
      controller.abort();
      await settled;
      return endSeen(abortedAt);
    };
    expect(await fastestOf(5, once)).toBeLessThan(PROMPTLY_MS);
  });

  it("by leaving the loop reaches the engine within 100 ms and keeps what was received", async () => {
    const once = async () => {
      const stream = serving.stream({ prompt: "?" });
      for await (const chunk of stream) if (chunk.text !== "") break;
      const ended = await endSeen(performance.now());
      expect(await stream.result).toMatchObject({ text: "one", finishReason: "aborted" });
      expect(records.at(-1)).toMatchObject({ text: "one", finishReason: "aborted" });
      return ended;
    };
    expect(await fastestOf(5, once)).toBeLessThan(PROMPTLY_MS);
  });

  it("by cancelling a web stream reaches the engine within 100 ms, also while a read is pending", async () => {
    const once = async () => {
      const stream = serving.stream({ prompt: "?" });
      const reader = stream.toReadableStream().getReader();
      await reader.read();
      await reader.read();
      const pending = reader.read();
      const cancelledAt = performance.now();
      await reader.cancel();
      expect((await pending).done).toBe(true);
      expect((await stream.result).text).toBe("one two");
      return endSeen(cancelledAt);
    };
    expect(await fastestOf(5, once)).toBeLessThan(PROMPTLY_MS);
  });

  it("frees the place in the line at once, whether the call waits or runs", async () => {
    engine.setFault({ kind: "slow-headers" });
    await using narrow = new ServingClient({ endpoints: [engine.url], maxConcurrency: 1 });
    const running = new AbortController();
    const waiting = new AbortController();
    const first = narrow.generate({ prompt: "1" }, { signal: running.signal });
    const second = narrow.generate({ prompt: "2" }, { signal: waiting.signal });
    const third = narrow.generate({ prompt: "3" });
    for (const one of [first, second]) one.catch(() => undefined);
    await vi.waitFor(() => expect(engine.questions.length).toBe(1));
    waiting.abort();
    await expect(second).rejects.toThrow(AbortedError);
    engine.setFault(null);
    running.abort();
    await expect(first).rejects.toThrow(AbortedError);
    expect((await third).text).toBe("one two three four five");
    expect(engine.questions.length).toBe(2);
  });

  it("frees the place of a stream whose reader has paused", async () => {
    engine.setFault(null);
    await using narrow = new ServingClient({ endpoints: [engine.url], maxConcurrency: 1 });
    const controller = new AbortController();
    const paused = narrow.stream({ prompt: "1" }, { signal: controller.signal })[Symbol.asyncIterator]();
    expect((await paused.next()).value?.text).toBe("one");
    const second = narrow.generate({ prompt: "2" });
    await vi.waitFor(() => expect(narrow.endpoints()[0]?.load).toBe(2));
    controller.abort();
    expect((await second).text).toBe("one two three four five");
    await expect(paused.next()).rejects.toThrow(AbortedError);
  });

  it("that came before the call sends nothing", async () => {
    await expect(serving.generate({ prompt: "?" }, { signal: AbortSignal.abort() })).rejects.toThrow(AbortedError);
    await expect(serving.stream({ prompt: "?" }, { signal: AbortSignal.abort() }).result).rejects.toThrow(AbortedError);
    await expect(serving.listAdapters({ signal: AbortSignal.abort() })).rejects.toThrow(AbortedError);
    expect(engine.questions).toEqual([]);
  });

  it("by closing the client ends what runs, after its grace", async () => {
    const stream = serving.stream({ prompt: "?" });
    const failing = stream.result;
    failing.catch(() => undefined);
    await vi.waitFor(() => expect(engine.questions.length).toBe(1));
    await serving.close({ graceMs: 50 });
    await expect(failing).rejects.toThrow(AbortedError);
    await expect(serving.generate({ prompt: "?" })).rejects.toThrow(/closed/);
    await vi.waitFor(() => expect(engine.openConnections).toBeLessThanOrEqual(1));
  });

  it("by leaving the loop leaves nothing that closing waits for", async () => {
    for await (const _chunk of serving.stream({ prompt: "?" })) break;
    await serving.close({ graceMs: 600_000 });
    expect(serving.endpoints()[0]?.load).toBe(0);
  });

  it("leaves no listener on the caller's signal", async () => {
    engine.setFault(null);
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, "addEventListener");
    const remove = vi.spyOn(signal, "removeEventListener");
    await serving.generate({ prompt: "?" }, { signal });
    await serving.stream({ prompt: "?" }, { signal }).result;
    expect(add.mock.calls.length).toBeGreaterThan(0);
    expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  });
});
