import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Circuit } from "../../src/client/balancing/circuit.js";
import { ServingClient } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

describe("endpoints of a running client", () => {
  let first: StandInEngine;
  let second: StandInEngine;
  let serving: ServingClient;
  beforeEach(async () => {
    first = await startStandInEngine();
    second = await startStandInEngine();
    serving = new ServingClient({ engine: "vllm", endpoints: [first.url], retries: { max: 0 } });
  });
  afterEach(async () => {
    await serving.close();
    await Promise.all([first.close(), second.close()]);
  });

  it("one that is added takes its share at once, and an adapter is loaded there before it is asked for", async () => {
    await serving.loadAdapter({ id: "building@v1", path: "adapters/building@v1" });
    await using knowing = new ServingClient({
      engine: "vllm",
      endpoints: [first.url],
      retries: { max: 0 },
      adapters: { getAdapter: async (id) => ({ id, path: `adapters/${id}` }) },
    });
    await knowing.generate({ prompt: "?", adapterId: "building@v1" });
    knowing.addEndpoint(second.url);
    knowing.addEndpoint(second.url);
    expect(knowing.endpoints().map(({ endpoint }) => endpoint)).toEqual([first.url, second.url]);
    for (let call = 0; call < 4; call += 1) await knowing.generate({ prompt: "?", adapterId: "building@v1" });
    expect(second.adapters).toEqual(["building@v1"]);
    expect(second.questions.length).toBe(2);
  });

  it("one that is removed ends what runs there and gets nothing more", async () => {
    serving.addEndpoint(second.url);
    second.setFault({ kind: "slow-headers", delayMs: 200 });
    const running = Array.from({ length: 6 }, () => serving.generate({ prompt: "?" }));
    await vi.waitFor(() => expect(second.questions.length).toBe(3));
    serving.removeEndpoint(second.url);
    expect((await Promise.all(running)).filter(({ endpoint }) => endpoint === second.url)).toHaveLength(3);
    for (let call = 0; call < 4; call += 1) await serving.generate({ prompt: "?" });
    expect(second.questions.length).toBe(3);
  });

  it("one that is unknown may be removed, the last one may not", () => {
    serving.removeEndpoint("http://127.0.0.1:9");
    expect(() => serving.removeEndpoint(first.url)).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });
});

describe("a circuit", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["performance"], now: 0 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("opens at a failure, lets one call try after a rest, and closes when that succeeds", () => {
    const circuit = new Circuit();
    circuit.failed();
    expect([circuit.state, circuit.letsThrough]).toEqual(["open", false]);
    vi.advanceTimersByTime(500);
    expect([circuit.state, circuit.letsThrough]).toEqual(["half-open", true]);
    circuit.began();
    expect([circuit.state, circuit.letsThrough]).toEqual(["half-open", false]);
    circuit.succeeded();
    expect([circuit.state, circuit.letsThrough]).toEqual(["closed", true]);
  });

  it("rests twice as long after each failure in a row, up to half a minute", () => {
    const circuit = new Circuit();
    const rests = Array.from({ length: 9 }, () => {
      circuit.failed();
      let rest = 0;
      for (; circuit.state === "open"; rest += 500) vi.advanceTimersByTime(500);
      circuit.began();
      return rest;
    });
    expect(rests).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it("lets another call try where the one that tried was given up by its caller", () => {
    const circuit = new Circuit();
    circuit.failed();
    vi.advanceTimersByTime(500);
    circuit.began();
    circuit.abandoned();
    expect([circuit.state, circuit.letsThrough]).toEqual(["half-open", true]);
  });

  it("rests as long as it was asked to", () => {
    const circuit = new Circuit();
    circuit.rest(2_000);
    vi.advanceTimersByTime(1_999);
    expect(circuit.state).toBe("open");
    vi.advanceTimersByTime(1);
    expect(circuit.state).toBe("closed");
  });
});
