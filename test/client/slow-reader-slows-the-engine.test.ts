import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, vi } from "vitest";
import { ServingClient } from "../../src/client/index.js";

const EVENTS = 8_000;
const TEXT = "x".repeat(4_000);

it("a reader who waits stops the engine's stream, and gets all of it later", async () => {
  let written = 0;
  const server = createServer(async (request, response) => {
    if (request.method === "GET") return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (; written < EVENTS; written += 1) {
      const finish_reason = written === EVENTS - 1 ? "stop" : null;
      const event = JSON.stringify({ choices: [{ delta: { content: TEXT }, finish_reason }] });
      if (!response.write(`data: ${event}\n\n`)) await once(response, "drain");
    }
    response.end("data: [DONE]\n\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await using serving = new ServingClient({ endpoints: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`] });
  const chunks = serving.stream({ prompt: "?" })[Symbol.asyncIterator]();
  expect((await chunks.next()).value?.text).toBe(TEXT);
  let before = -1;
  const isStanding = () => {
    const stands = written === before;
    before = written;
    return stands;
  };
  // the kernel's buffers fill up, and then nothing moves
  await vi.waitUntil(isStanding, { interval: 200, timeout: 10_000 });
  expect(written).toBeLessThan(EVENTS);
  let received = 1;
  for (let step = await chunks.next(); !step.done; step = await chunks.next()) received += 1;
  expect(received).toBe(EVENTS);
  server.close();
});
