/**
 * The engine of the client bench, a process of its own so that its work is not counted: `/SHAPE/v1/chat/completions` answers as answers.ts
 * says, a packet at each step as an engine's batch does; `/held/…` gives the first token and no more; `/ended` answers when no held
 * stream is left, with how many there were.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sendMessage } from "execa";
import { type Answer, answers, MODEL } from "./answers.ts";

/** Milliseconds between two packets of a stream. */
const STEP_MS = 4;

const streams = new Map<ServerResponse, { answer: Answer; next: number }>();
const held = new Set<ServerResponse>();
const refusals = new Map<Answer, number>();
let ended = 0;
let askingForEnd: ServerResponse[] = [];

function isRefused(answer: Answer): boolean {
  const count = (refusals.get(answer) ?? 0) + 1;
  refusals.set(answer, count);
  return count % answer.refusedOneIn === 0;
}

function hold(response: ServerResponse): void {
  held.add(response);
  response.once("close", () => {
    held.delete(response);
    ended += 1;
    answerEnded();
  });
  for (const packet of answers.tokens.packets.slice(0, 2)) response.write(packet);
}

function answerEnded(): void {
  if (held.size > 0) return;
  for (const response of askingForEnd) response.end(JSON.stringify({ ended }));
  if (askingForEnd.length > 0) ended = 0;
  askingForEnd = [];
}

setInterval(() => {
  for (const [response, stream] of streams) {
    const { answer } = stream;
    if (stream.next < answer.packets.length) response.write(answer.packets[stream.next]);
    else if (answer.isBrokenOff) response.destroy();
    else response.end();
    stream.next += 1;
    if (stream.next > answer.packets.length) streams.delete(response);
  }
}, STEP_MS);

const server = createServer({ noDelay: true }, (request, response) => {
  const [, shape = "", ...path] = (request.url ?? "").split("/");
  if (shape === "ended") {
    askingForEnd.push(response);
    answerEnded();
    return;
  }
  if (path.join("/") === "v1/models") {
    response.setHeader("content-type", "application/json").end(JSON.stringify({ object: "list", data: [{ id: MODEL, object: "model" }] }));
    return;
  }
  const answer: Answer | undefined = Object.entries(answers).find(([name]) => name === shape)?.[1];
  request.resume().once("end", () => {
    if (answer && isRefused(answer)) {
      response
        .writeHead(429, { "retry-after": "1", "content-type": "application/json" })
        .end(JSON.stringify({ error: { message: "busy" } }));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    if (answer) streams.set(response, { answer, next: 0 });
    else hold(response);
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 2_048 }, () => {
  void sendMessage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
