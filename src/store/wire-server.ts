import { createServer, type Server, type Socket } from "node:net";
import type { PGlite } from "@electric-sql/pglite";
import { type Frame, FrameReader } from "./wire-frames.js";

/** Where the server listens: a Unix socket, or a loopback port guarded by a password. */
export type WireAddress = { path: string } | { port: number; password: string };

/** Options of {@link WireServer}. */
export interface WireServerOptions {
  /** A client that sits in an open transaction this long while others wait is cut off, in milliseconds. */
  idleInTransactionMs: number;
  /** The database engine itself broke (not a statement): nothing more will work. */
  onFatal(error: unknown): void;
}

/**
 * Serves one PGlite to many PostgreSQL clients.
 *
 * PGlite is one backend: clients take turns. A turn is everything up to Sync, or a simple query, executed as a unit, so that one
 * client's Parse never meets another's Bind; inside a transaction the turn lasts until its end.
 */
export class WireServer {
  readonly #db: PGlite;
  readonly #options: WireServerOptions;
  readonly #server: Server;
  readonly #clients = new Set<WireClient>();
  readonly #waiting: { client: WireClient; bytes: Buffer }[] = [];
  /** The client inside a transaction (or between Flush and Sync): only its turns run. */
  #holder: WireClient | null = null;
  #holderTimer: NodeJS.Timeout | null = null;
  #isRunning = false;
  #password: string | null = null;

  constructor(db: PGlite, options: WireServerOptions) {
    this.#db = db;
    this.#options = options;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Starts to listen; resolves with the port (0 on a Unix socket). */
  async listen(address: WireAddress): Promise<number> {
    if ("password" in address) this.#password = address.password;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      if ("path" in address) this.#server.listen(address.path, resolve);
      else this.#server.listen(address.port, "127.0.0.1", resolve);
    });
    const bound = this.#server.address();
    return typeof bound === "object" && bound !== null ? bound.port : 0;
  }

  /** Cuts every client off and stops listening. */
  async close(): Promise<void> {
    this.#clearHolderTimer();
    this.#waiting.length = 0;
    for (const client of this.#clients) client.socket.destroy();
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    const client = new WireClient(socket, this.#password);
    this.#clients.add(client);
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      for (const turn of client.receive(chunk)) {
        this.#waiting.push({ client, bytes: turn });
      }
      this.#run();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#leave(client));
  }

  #leave(client: WireClient): void {
    this.#clients.delete(client);
    for (let index = this.#waiting.length - 1; index >= 0; index--) {
      if (this.#waiting[index]?.client === client) this.#waiting.splice(index, 1);
    }
    if (this.#holder === client && !this.#isRunning) this.#rollBack();
    else this.#run();
  }

  #rollBack(): void {
    this.#isRunning = true;
    this.#clearHolderTimer();
    // A Sync first: the client may have left between Flush and Sync.
    this.#execute(Buffer.concat([syncMessage, simpleQuery("rollback")]), () => {})
      .catch((error: unknown) => this.#options.onFatal(error))
      .finally(() => {
        this.#holder = null;
        this.#isRunning = false;
        this.#run();
      });
  }

  #run(): void {
    if (this.#isRunning) return;
    const index = this.#holder === null ? 0 : this.#waiting.findIndex((turn) => turn.client === this.#holder);
    const turn = this.#waiting[index];
    if (turn === undefined) {
      this.#watchHolder();
      return;
    }
    this.#clearHolderTimer();
    this.#waiting.splice(index, 1);
    this.#isRunning = true;
    const { client } = turn;
    this.#execute(turn.bytes, (data) => {
      if (client.socket.writable) client.socket.write(data);
    })
      .then(() => {
        this.#isRunning = false;
        const holds = this.#db.isInTransaction() || client.endsWithFlush(turn.bytes);
        this.#holder = holds ? client : null;
        if (holds && !this.#clients.has(client)) this.#rollBack();
        // A new task for each turn: sockets are read in between, so that clients are served in order of arrival.
        else setImmediate(() => this.#run());
      })
      .catch((error: unknown) => this.#options.onFatal(error));
  }

  async #execute(message: Buffer, onData: (data: Buffer) => void): Promise<void> {
    // The engine reuses its output memory: copy before the next message overwrites it.
    await this.#db.runExclusive(() => this.#db.execProtocolRawStream(message, { onRawData: (data) => onData(Buffer.from(data)) }));
  }

  #watchHolder(): void {
    if (this.#holder === null || this.#waiting.length === 0 || this.#holderTimer !== null) return;
    const holder = this.#holder;
    this.#holderTimer = setTimeout(() => {
      this.#holderTimer = null;
      const seconds = Math.round(this.#options.idleInTransactionMs / 1000);
      holder.socket.end(
        fatalError(
          "25P03",
          `transaction idle for ${seconds} s while other calls wait: never await another connection inside a transaction`,
        ),
      );
      holder.socket.destroySoon();
    }, this.#options.idleInTransactionMs);
    this.#holderTimer.unref();
  }

  #clearHolderTimer(): void {
    if (this.#holderTimer !== null) clearTimeout(this.#holderTimer);
    this.#holderTimer = null;
  }
}

/** One connection: cuts its byte stream into turns and answers what the engine does not. */
class WireClient {
  readonly socket: Socket;
  readonly #reader = new FrameReader();
  readonly #password: string | null;
  #startup: Buffer | null = null;
  #isAuthenticated = false;
  #pending: Buffer[] = [];

  constructor(socket: Socket, password: string | null) {
    this.socket = socket;
    this.#password = password;
  }

  /** Complete turns in the bytes received so far. */
  receive(chunk: Buffer): Buffer[] {
    const turns: Buffer[] = [];
    this.#reader.push(chunk);
    for (let frame = this.#reader.next(); frame !== null; frame = this.#reader.next()) {
      const turn = this.#handle(frame);
      if (turn !== null) turns.push(turn);
    }
    if (this.#reader.isBroken) this.socket.destroy();
    return turns;
  }

  /** True where the client asked for output early and has not ended its turn. */
  endsWithFlush(turn: Buffer): boolean {
    return turn.length >= 5 && turn[turn.length - 5] === 0x48 && turn.readUInt32BE(turn.length - 4) === 4;
  }

  #handle(frame: Frame): Buffer | null {
    switch (frame.kind) {
      case "ssl":
        this.socket.write("N");
        return null;
      case "cancel":
        this.socket.destroy();
        return null;
      case "startup":
        if (this.#password === null) return this.#authenticated(frame.bytes);
        this.#startup = frame.bytes;
        this.socket.write(cleartextPasswordRequest);
        return null;
      case "message":
        return this.#message(frame);
    }
  }

  #message({ type, bytes }: Extract<Frame, { kind: "message" }>): Buffer | null {
    if (type === "X") {
      this.socket.end();
      return null;
    }
    if (!this.#isAuthenticated) {
      const given = type === "p" ? bytes.subarray(5, bytes.length - 1).toString("utf8") : "";
      if (this.#startup !== null && given === this.#password) return this.#authenticated(this.#startup);
      this.socket.end(fatalError("28P01", "password authentication failed"));
      return null;
    }
    this.#pending.push(bytes);
    if (type !== "Q" && type !== "S" && type !== "F" && type !== "H") return null;
    const turn = this.#pending.length === 1 ? bytes : Buffer.concat(this.#pending);
    this.#pending = [];
    return turn;
  }

  #authenticated(startup: Buffer): Buffer {
    this.#isAuthenticated = true;
    return startup;
  }
}

const syncMessage = Buffer.from([0x53, 0, 0, 0, 4]);
const cleartextPasswordRequest = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]);

function simpleQuery(text: string): Buffer {
  return typedMessage("Q", Buffer.from(`${text}\0`));
}

function fatalError(code: string, message: string): Buffer {
  return typedMessage("E", Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`));
}

function typedMessage(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
