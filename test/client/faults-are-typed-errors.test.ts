import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../src/client/index.js";
import { ClaraError } from "../../src/errors.js";
import { type StandInEngine, type StandInFault, startStandInEngine } from "../../src/testing/index.js";

const once: Partial<ServingClientOptions> = { retries: { max: 0 } };
const impatient: Partial<ServingClientOptions> = { ...once, timeouts: { headersMs: 150, firstTokenMs: 150, idleMs: 150 } };
/** Faults that only a timeout ends. */
const SILENT = new Set<StandInFault["kind"]>(["stall", "half-open", "slow-headers"]);

async function failureOf(call: Promise<unknown>): Promise<ClaraError> {
  const error = await call.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  expect(ClaraError.isInstance(error), String(error)).toBe(true);
  return error as ClaraError;
}

describe("a fault of the engine", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  async function meet(fault: StandInFault): Promise<void> {
    engine = await startStandInEngine({ answer: () => "one two three four", faults: [fault] });
    serving = new ServingClient({
      endpoints: [engine.url],
      maxEventBytes: 100_000,
      maxResponseBytes: 100_000,
      ...(SILENT.has(fault.kind) ? impatient : once),
    });
  }

  const inStream: [string, StandInFault, Partial<ClaraError>, string][] = [
    ["a reset before the answer", { kind: "reset" }, { code: "engine_unavailable", isRetryable: true }, ""],
    ["a reset in the middle", { kind: "reset", afterTokens: 2 }, { code: "engine_unavailable", isRetryable: true }, "one two"],
    ["a connection closed in the middle", { kind: "close", afterTokens: 2 }, { code: "engine_unavailable", isRetryable: true }, "one two"],
    ["a stall before the first token", { kind: "stall" }, { code: "request_timeout", isRetryable: true }, ""],
    ["a stall in the middle", { kind: "stall", afterTokens: 2 }, { code: "request_timeout", isRetryable: true }, "one two"],
    ["a peer that never reads", { kind: "half-open" }, { code: "request_timeout", isRetryable: true }, ""],
    ["headers that never come", { kind: "slow-headers" }, { code: "request_timeout", isRetryable: true }, ""],
    ["status 500", { kind: "status", status: 500 }, { code: "engine_error", isRetryable: true }, ""],
    ["status 400", { kind: "status", status: 400 }, { code: "engine_error", isRetryable: false }, ""],
    ["status 401", { kind: "status", status: 401 }, { code: "engine_error", isRetryable: false }, ""],
    ["status 503", { kind: "status", status: 503 }, { code: "engine_unavailable", isRetryable: true }, ""],
    ["a redirect", { kind: "status", status: 307 }, { code: "engine_error", isRetryable: false }, ""],
    [
      "an error in the middle of the stream",
      { kind: "error-event", afterTokens: 2 },
      { code: "engine_error", isRetryable: true },
      "one two",
    ],
    ["garbage in the middle of the stream", { kind: "garbage", afterTokens: 2 }, { code: "engine_response_invalid" }, "one two"],
    ["an endless line", { kind: "endless-line" }, { code: "engine_response_invalid" }, ""],
    ["a web page", { kind: "wrong-content-type" }, { code: "engine_response_invalid" }, ""],
    ["a stream that ends too early", { kind: "truncate", afterTokens: 2 }, { code: "engine_response_invalid" }, "one two"],
  ];

  it.each(inStream)("in a stream, %s, is typed, keeps the text before it and frees the socket", async (_name, fault, expected, before) => {
    await meet(fault);
    const stream = serving.stream({ prompt: "?" });
    let text = "";
    const reading = (async () => {
      for await (const chunk of stream) text += chunk.text;
    })();
    const error = await failureOf(reading);
    expect(error).toMatchObject(expected);
    expect(error.details.endpoint).toBe(engine.url);
    expect(await failureOf(stream.result)).toBe(error);
    expect(text).toBe(before);
    // a peer that never reads cannot see that we left
    if (fault.kind !== "half-open") await vi.waitFor(() => expect(engine.questions[0]?.state).not.toBe("open"));
  });

  const whole: [string, StandInFault, Partial<ClaraError>][] = [
    ["a reset", { kind: "reset" }, { code: "engine_unavailable", isRetryable: true }],
    ["a connection closed in the middle", { kind: "close", afterTokens: 1 }, { code: "engine_unavailable", isRetryable: true }],
    ["status 500", { kind: "status", status: 500 }, { code: "engine_error", isRetryable: true }],
    ["half of the JSON", { kind: "truncate" }, { code: "engine_response_invalid" }],
    ["JSON of something else", { kind: "status", status: 200, body: { hello: "world" } }, { code: "engine_response_invalid" }],
    ["an error with status 200", { kind: "status", status: 200, body: { error: { message: "no" } } }, { code: "engine_error" }],
    ["an endless answer", { kind: "endless-line" }, { code: "engine_response_invalid" }],
    ["a web page", { kind: "wrong-content-type" }, { code: "engine_response_invalid" }],
  ];

  it.each(whole)("in a whole answer, %s, is typed", async (_name, fault, expected) => {
    await meet(fault);
    expect(await failureOf(serving.generate({ prompt: "?" }))).toMatchObject(expected);
  });

  it("that never answers a whole request is ended by the total timeout", async () => {
    await meet({ kind: "slow-headers" });
    await using brief = new ServingClient({ endpoints: [engine.url], timeouts: { totalMs: 150 } });
    expect(await failureOf(brief.generate({ prompt: "?" }))).toMatchObject({
      code: "request_timeout",
      message: expect.stringContaining("totalMs"),
    });
    await vi.waitFor(() => expect(engine.questions[0]?.state).toBe("aborted"));
  });

  it("does not time a slow reader out", async () => {
    await meet({ kind: "split", bytes: 50 });
    await using brisk = new ServingClient({ endpoints: [engine.url], ...impatient });
    let text = "";
    for await (const chunk of brisk.stream({ prompt: "?" })) {
      text += chunk.text;
      const until = performance.now() + 200;
      await vi.waitUntil(() => performance.now() > until);
    }
    expect(text).toBe("one two three four");
  });
});

describe("a server that does not speak HTTP", () => {
  let server: Server;
  const sockets = new Set<Socket>();
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  async function listen(onSocket: (socket: Socket) => void): Promise<string> {
    server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => sockets.delete(socket));
      onSocket(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it.each([
    ["a banner of another protocol", "SSH-2.0-OpenSSH_9.2\r\n", "engine_response_invalid"],
    ["headers without end", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(100_000)}`, "engine_response_invalid"],
    [
      "a chunk of a broken length",
      "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
      "engine_response_invalid",
    ],
    ["nothing, and closes", "", "engine_unavailable"],
  ])("%s, is a typed error", async (_name, bytes, code) => {
    const url = await listen((socket) => socket.once("data", () => (bytes === "" ? socket.end() : socket.write(bytes))));
    await using serving = new ServingClient({ endpoints: [url], ...once });
    expect(await failureOf(serving.stream({ prompt: "?" }).result)).toMatchObject({ code });
    await vi.waitFor(() => expect(sockets.size).toBe(0));
  });

  it("headers that come byte by byte, without end, are ended by the headers timeout", async () => {
    const url = await listen((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const timer = setInterval(() => socket.write("x-a: b\r\n"), 20);
      socket.on("close", () => clearInterval(timer));
    });
    await using serving = new ServingClient({ endpoints: [url], ...impatient });
    expect(await failureOf(serving.stream({ prompt: "?" }).result)).toMatchObject({
      code: "request_timeout",
      details: { phase: "headers" },
    });
    await vi.waitFor(() => expect(sockets.size).toBe(0));
  });

  it("invalid UTF-8 is an error, not replacement characters that would be learnt from", async () => {
    const event = Buffer.concat([
      Buffer.from('data: {"choices":[{"delta":{"content":"'),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('"}}]}\n\n'),
    ]);
    const url = await listen((socket) =>
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 10000\r\n\r\n`);
        socket.write(event);
      }),
    );
    await using serving = new ServingClient({ endpoints: [url], ...once });
    expect(await failureOf(serving.stream({ prompt: "?" }).result)).toMatchObject({
      code: "engine_response_invalid",
      message: expect.stringContaining("UTF-8"),
    });
  });
});
