import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * What goes wrong between a client and an engine. `at` says when: with the connection, with a question (`POST /v1/chat/completions`), after
 * the answer's headers, or inside the answer's text, right after `CUT`.
 */
export type ProxyFault =
  /** TCP RST. */
  | { kind: "reset"; at: "connect" | "question" | "text" }
  /** Nothing more comes, while both connections stay. */
  | { kind: "stall"; at: "head" | "text" }
  /** Nothing more comes, because nobody is there any more; the client is told nothing, not even by a FIN. */
  | { kind: "half-open"; at: "connect" | "text" }
  /** One byte of an endless response head after the other. */
  | { kind: "slow-headers"; everyMs: number }
  | { kind: "too-many-requests"; retryAfter?: string }
  /** The stream goes on with an error event, and ends properly. */
  | { kind: "error-event" }
  /** FIN in the middle of the text. */
  | { kind: "cut" }
  | { kind: "garbage"; where: "http" | "events" | "json" }
  /** One event, or one string of JSON, that never ends. */
  | { kind: "endless-line"; contentType: string }
  /** Status 200 with something else than was asked for. */
  | { kind: "wrong-content-type"; answer: "html" | "json" | "events" };

/** Where answers are cut; the engine's answer must contain it. */
export const CUT = " two";

const FILLER = Buffer.alloc(65_536, "x");

/** A TCP proxy on 127.0.0.1 that spoils what goes through it, byte by byte: no HTTP server in between that tidies up. */
export class FaultyProxy implements AsyncDisposable {
  /** Faults inside the text wait for this, so that the client has read what comes before; a reset would discard it. */
  strike: Promise<void> = Promise.resolve();
  /** Connections and questions that were spoilt. */
  spoilt = 0;
  /** Bytes of an endless line that the client's side has taken. */
  poured = 0;
  readonly #clients = new Set<Socket>();
  /** Those of them that wait for the rest of an answer that will not come. */
  readonly #hanging = new Set<Socket>();
  readonly #server: Server;
  readonly #enginePort: number;
  #fault: ProxyFault | null;

  private constructor(enginePort: number, fault: ProxyFault) {
    this.#enginePort = enginePort;
    this.#fault = fault;
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  static async start(enginePort: number, fault: ProxyFault): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(enginePort, fault);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get openConnections(): number {
    return this.#clients.size;
  }

  get hangingConnections(): number {
    return this.#hanging.size;
  }

  heal(): void {
    this.#fault = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    this.#clients.add(client);
    client.on("error", () => client.destroy());
    client.on("close", () => {
      this.#clients.delete(client);
      this.#hanging.delete(client);
    });
    const fault = this.#fault;
    if (fault !== null && "at" in fault && fault.at === "connect") {
      this.spoilt += 1;
      if (fault.kind === "reset") client.resetAndDestroy();
      else this.#hanging.add(client.resume());
      return;
    }
    this.#join(client, connect(this.#enginePort, "127.0.0.1"));
  }

  #join(client: Socket, engine: Socket): void {
    let isAnswered = false;
    let answered: ((data: Buffer) => void) | null = null;
    client.on("data", (data) => {
      const line = /^(?:GET|POST) (\S+) HTTP/.exec(data.toString("latin1"));
      if (line !== null) {
        const fault = line[1] === "/v1/chat/completions" ? this.#fault : null;
        if (fault !== null) this.spoilt += 1;
        isAnswered = fault !== null && this.#answer(client, fault);
        answered = fault === null ? null : this.#spoiler(client, engine, fault);
      }
      if (!isAnswered) engine.write(data);
    });
    engine.on("data", (data) => (answered === null ? client.write(data) : answered(data)));
    engine.on("error", () => engine.destroy());
    engine.on("close", () => {
      if (!this.#hanging.has(client)) client.destroy();
    });
    client.on("close", () => engine.destroy());
  }

  /** Answers in the engine's place; false where the fault needs the engine's own answer. */
  #answer(client: Socket, fault: ProxyFault): boolean {
    switch (fault.kind) {
      case "reset":
        if (fault.at === "question") client.resetAndDestroy();
        return fault.at === "question";
      case "slow-headers": {
        this.#hanging.add(client);
        let sent = 0;
        const head = "HTTP/1.1 200 OK\r\nx-padding: ";
        const timer = setInterval(() => client.write(head[sent++] ?? "x"), fault.everyMs);
        client.on("close", () => clearInterval(timer));
        return true;
      }
      case "endless-line":
        this.#hanging.add(client);
        client.write(`HTTP/1.1 200 OK\r\ncontent-type: ${fault.contentType}\r\nconnection: close\r\n\r\ndata: `);
        this.#pour(client);
        return true;
      default: {
        const bytes = answerOf(fault);
        if (bytes !== null) client.write(bytes, "latin1");
        return bytes !== null;
      }
    }
  }

  #pour(client: Socket): void {
    while (!client.destroyed) {
      const goesOn = client.write(FILLER);
      this.poured += FILLER.length;
      if (goesOn) continue;
      client.once("drain", () => this.#pour(client));
      return;
    }
  }

  /** Passes the engine's answer on up to the place of the fault. */
  #spoiler(client: Socket, engine: Socket, fault: ProxyFault): (data: Buffer) => void {
    let seen = "";
    let isCut = false;
    return (data) => {
      if (isCut) return;
      const sent = seen.length;
      seen += data.toString("latin1");
      const end = cutOf(seen, fault);
      client.write(seen.slice(sent, end ?? undefined), "latin1");
      if (end === null) return;
      isCut = true;
      this.#hanging.add(client);
      void this.strike.then(() => this.#cut(client, engine, fault));
    };
  }

  #cut(client: Socket, engine: Socket, fault: ProxyFault): void {
    if (fault.kind === "reset") client.resetAndDestroy();
    else if (fault.kind === "cut") client.end();
    else if (fault.kind === "half-open") engine.destroy();
    else if (fault.kind === "error-event") {
      const event = `data: ${JSON.stringify({ error: { message: "EngineDeadError", type: "InternalServerError", code: 500 } })}\n\n`;
      client.write(`${event.length.toString(16)}\r\n${event}\r\n0\r\n\r\n`);
      this.#hanging.delete(client);
    }
  }
}

/** Where the answer so far is to be cut; null: not yet. */
function cutOf(seen: string, fault: ProxyFault): number | null {
  if (fault.kind === "stall" && fault.at === "head") return indexAfter(seen, "\r\n\r\n");
  const cut = indexAfter(seen, CUT);
  // the error is an event of its own, in a chunk of its own
  return cut !== null && fault.kind === "error-event" ? seen.lastIndexOf("\n\n\r\n", cut) + 4 : cut;
}

function indexAfter(text: string, part: string): number | null {
  const index = text.indexOf(part);
  return index < 0 ? null : index + part.length;
}

function answerOf(fault: ProxyFault): string | null {
  if (fault.kind === "too-many-requests") {
    const again = fault.retryAfter === undefined ? "" : `retry-after: ${fault.retryAfter}\r\n`;
    return httpOf("429 Too Many Requests", "application/json", '{"error":{"message":"slow down"}}', again);
  }
  if (fault.kind === "garbage") {
    if (fault.where === "http") return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    if (fault.where === "events") return httpOf("200 OK", "text/event-stream", "data: {not json\x00}}\n\n");
    return httpOf("200 OK", "application/json", "{not json\x00}}");
  }
  if (fault.kind !== "wrong-content-type") return null;
  if (fault.answer === "html") return httpOf("200 OK", "text/html", "<!doctype html><title>Log in to the network</title>");
  const choice = { index: 0, finish_reason: "stop" };
  const whole = { choices: [{ ...choice, message: { role: "assistant", content: "wrong" } }] };
  if (fault.answer === "json") return httpOf("200 OK", "application/json", JSON.stringify(whole));
  const event = { choices: [{ ...choice, delta: { content: "wrong" } }] };
  return httpOf("200 OK", "text/event-stream", `data: ${JSON.stringify(event)}\n\ndata: [DONE]\n\n`);
}

function httpOf(status: string, contentType: string, body: string, headers = ""): string {
  return `HTTP/1.1 ${status}\r\ncontent-type: ${contentType}\r\ncontent-length: ${body.length}\r\n${headers}\r\n${body}`;
}
