import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { StorageError } from "../errors.js";
import type { PgliteWorkerData, PgliteWorkerMessage, PgliteWorkerRequest } from "./pglite-worker.js";

/** The database's thread, seen from its owner. */
export class PgliteProcess {
  readonly #worker: Worker;
  /** Resolves with what ended it: null after `close()`. */
  readonly ended: Promise<Error | null>;
  readonly #ready: Promise<number>;
  readonly #replies = new Map<PgliteWorkerMessage["kind"], (message: { error?: string }) => void>();
  #failure: Error | null = null;
  #isClosing = false;
  #closing: Promise<void> | null = null;

  readonly #answerTimeoutMs: number;

  constructor(data: PgliteWorkerData, options: { answerTimeoutMs: number }) {
    this.#answerTimeoutMs = options.answerTimeoutMs;
    const { url, execArgv } = workerEntry();
    this.#worker = new Worker(url, { workerData: data, execArgv, stderr: false });
    let becomeReady: (port: number) => void = () => {};
    let refuse: (error: Error) => void = () => {};
    this.#ready = new Promise((resolve, reject) => {
      becomeReady = resolve;
      refuse = reject;
    });
    // Whoever waits gets the rejection; nobody waiting is no fault.
    this.#ready.catch(() => {});
    this.#worker.on("message", (message: PgliteWorkerMessage) => {
      if (message.kind === "ready") becomeReady(message.port);
      else if (message.kind === "fatal") {
        this.#failure = Object.assign(new Error(message.message), message.code ? { code: message.code } : {});
        void this.#worker.terminate();
      } else {
        this.#replies.get(message.kind)?.(message);
        this.#replies.delete(message.kind);
      }
    });
    this.#worker.on("error", (error: Error) => {
      this.#failure ??= error;
    });
    this.ended = new Promise((resolve) => {
      this.#worker.once("exit", (status) => {
        const failure = this.#failure ?? (this.#isClosing ? null : new Error(`its thread ended with status ${status}`));
        refuse(failure ?? new Error("its thread ended"));
        for (const reply of this.#replies.values()) reply({ error: failure?.message ?? "its thread ended" });
        this.#replies.clear();
        resolve(failure);
      });
    });
  }

  /** Resolves with the port (0 on a Unix socket) once connections are accepted; from then on the thread keeps no process alive. */
  async ready(): Promise<number> {
    const port = await this.#ready;
    this.#worker.unref();
    return port;
  }

  /** Writes everything to the data files and forces them to the disk. */
  async checkpoint(): Promise<void> {
    await this.#ask("checkpoint", "checkpointed");
  }

  /** Shuts the database down cleanly and ends the thread. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    if (this.#failure !== null) {
      await this.ended;
      throw this.#failure;
    }
    try {
      await this.#ask("close", "closed");
    } finally {
      await this.kill();
    }
  }

  /** Ends the thread at once; the next open recovers from the write-ahead log. */
  async kill(): Promise<void> {
    this.#isClosing = true;
    await this.#worker.terminate();
    await this.ended;
  }

  async #ask(kind: PgliteWorkerRequest["kind"], reply: PgliteWorkerMessage["kind"]): Promise<void> {
    this.#worker.ref();
    let timer: NodeJS.Timeout | undefined;
    try {
      const { error } = await new Promise<{ error?: string }>((resolve) => {
        this.#replies.set(reply, resolve);
        // An engine that broke in the middle of a write may wait for itself.
        timer = setTimeout(() => resolve({ error: `no answer in ${this.#answerTimeoutMs / 1000} s` }), this.#answerTimeoutMs);
        this.#worker.postMessage({ kind } satisfies PgliteWorkerRequest);
      });
      if (error !== undefined) throw new Error(`it could not ${kind}: ${error}`);
    } finally {
      clearTimeout(timer);
      this.#worker.unref();
    }
  }
}

/** The thread's file: the source as it stands, or the built file wherever the bundler put this module. */
function workerEntry(): { url: URL; execArgv: string[] } {
  if (import.meta.url.endsWith(".ts")) {
    const hooks = new URL("../../scripts/ts-hooks.mjs", import.meta.url);
    return { url: new URL("./pglite-worker.ts", import.meta.url), execArgv: ["--import", hooks.href] };
  }
  const candidates = ["./store/pglite-worker.js", "./pglite-worker.js", "../store/pglite-worker.js"];
  const url = candidates.map((path) => new URL(path, import.meta.url)).find((candidate) => existsSync(candidate));
  if (url !== undefined) return { url, execArgv: [] };
  throw new StorageError(
    "store_unavailable",
    "The embedded database's thread (store/pglite-worker.js) is not beside clara-sdk: a bundler left it out. Mark clara-sdk as external in the bundler, or use a PostgreSQL (the option `database`).",
    { details: { module: import.meta.url } },
  );
}
