import { describe, expect, it } from "vitest";
import { SERVING_DEFAULTS, ServingClient } from "../../src/client/index.js";
import { startStandInEngine } from "../../src/testing/index.js";

describe("the options of the serving client", () => {
  const url = "http://127.0.0.1:1";

  it("have documented defaults and are frozen", () => {
    const { options } = new ServingClient({ endpoints: [url], baseModel: undefined, timeouts: { idleMs: 7 } });
    expect(options).toMatchObject({ ...SERVING_DEFAULTS, timeouts: { ...SERVING_DEFAULTS.timeouts, idleMs: 7 } });
    expect([options, options.timeouts, options.retries, options.endpoints].every(Object.isFrozen)).toBe(true);
  });

  it.each([
    [{ endpoints: [] }, /endpoints/],
    [{ endpoints: ["not a url"] }, /not a url/],
    [{ endpoints: ["file:///etc/passwd"] }, /http or https/],
    [{ endpoints: ["http://user:secret@host"] }, /password/],
    [{ endpoints: [url], maxConcurrency: 0 }, /maxConcurrency/],
    [{ endpoints: [url], timeouts: { totalMs: 2 ** 31 } }, /timeouts.totalMs/],
    [{ endpoints: [url], retries: { max: -1 } }, /retries.max/],
    [{ endpoints: [url], engine: "tgi" as never }, /engine/],
  ])("%j are refused by field", (options, message) => {
    expect(() => new ServingClient(options)).toThrow(
      expect.objectContaining({ code: "config_invalid", message: expect.stringMatching(message) }),
    );
  });

  it("keep a password in a URL out of the message", () => {
    expect(() => new ServingClient({ endpoints: ["http://user:hunter2@host"] })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("hunter2") }),
    );
  });

  it("take an injected fetch, which then carries every call", async () => {
    await using engine = await startStandInEngine();
    const urls: string[] = [];
    await using serving = new ServingClient({
      engine: "vllm",
      endpoints: [engine.url],
      fetch: (url, init) => {
        urls.push(url);
        return fetch(url, init);
      },
    });
    await serving.loadAdapter({ id: "a@v1", path: "p" });
    expect((await serving.generate({ prompt: "hi", adapterId: "a@v1" })).text).toBe("a@v1: hi");
    expect((await serving.stream({ prompt: "hi" }).result).text).toBe("base: hi");
    const controller = new AbortController();
    engine.setFault({ kind: "stall", afterTokens: 1 });
    const stream = serving.stream({ prompt: "hi" }, { signal: controller.signal });
    const reading = (async () => {
      for await (const _chunk of stream) setImmediate(() => controller.abort());
    })();
    await expect(reading).rejects.toMatchObject({ code: "aborted" });
    const introduction = ["/v1/models", "/version", "/metrics"];
    const calls = ["/v1/load_lora_adapter", ...Array(3).fill("/v1/chat/completions")];
    expect(urls).toEqual([...introduction, ...calls].map((path) => engine.url + path));
  });

  it("send the token, and a refused one is named", async () => {
    await using engine = await startStandInEngine({ token: "right" });
    await using right = new ServingClient({ endpoints: [engine.url], token: "right" });
    expect((await right.generate({ prompt: "hi" })).text).toBe("base: hi");
    await using wrong = new ServingClient({ endpoints: [engine.url], token: "wrong-secret" });
    const failing = wrong.generate({ prompt: "hi" });
    await expect(failing).rejects.toMatchObject({
      code: "engine_error",
      details: { status: 401 },
      message: expect.stringMatching(/option token/),
    });
    await expect(failing).rejects.toMatchObject({ message: expect.not.stringContaining("wrong-secret") });
  });
});
