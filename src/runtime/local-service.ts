import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { AbortedError, ClaraError, RuntimeUnavailableError } from "../errors.js";
import type { CallOptions, Endpoint, EndpointProvider, Logger } from "../types/common.js";

/** One start of the process, and how it is known to answer. */
export interface ServiceLaunch {
  file: string;
  args: string[];
  cwd: string;
  env: Record<string, string>;
  /** Resolves with the endpoint when the process answers; rejects where it says that it cannot. */
  ready(service: StartingService): Promise<Endpoint>;
}

/** A started process, while it is not ready yet. */
export interface StartingService {
  /** Lines of its stdout; more may be read after it is ready. */
  onLine(listener: (line: string) => void): void;
  /** Aborts when the process ends or the start is given up. */
  readonly ended: AbortSignal;
}

/** What every service of this machine may be told. */
export interface LocalServiceOptions {
  /** Longest start, milliseconds. */
  startTimeoutMs: number;
  /** The process ended without being told to; the next `resolve` starts it again. */
  onExit?: (exit: ServiceExit) => void;
  logger?: Logger;
}

/** How the process ended without being told to. */
export interface ServiceExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last lines of its stderr. */
  output: string;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

interface Running {
  child: Child;
  exited: Promise<ServiceExit>;
  endpoint: Promise<Endpoint>;
}

const STDERR_LINES = 30;
/** A process that lived this long had started well: the next start need not wait. */
const STABLE_MS = 30_000;
const LONGEST_BACKOFF_MS = 30_000;

/**
 * A child process of this one with an endpoint: started by the first `resolve`, started again after a crash, ended with this process
 * however that ends.
 */
export abstract class LocalService implements EndpointProvider, AsyncDisposable {
  readonly name: string;
  readonly #options: LocalServiceOptions;
  #running: Promise<Running> | null = null;
  #child: Child | null = null;
  #crashes = 0;
  #notBefore = 0;
  #isClosed = false;
  #closing: Promise<void> | null = null;

  constructor(name: string, options: LocalServiceOptions) {
    this.name = name;
    this.#options = options;
  }

  /** @internal Asked before every start. */
  protected abstract launch(): Promise<ServiceLaunch>;

  /** Process id while it runs. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /**
   * Where it listens; starts it where it does not run. Aborting ends the wait, not the start.
   * @throws RuntimeUnavailableError `runtime_not_installed`, `runtime_unavailable`; ConfigurationError `base_model_invalid`
   * @example
   * ```ts
   * const { url, token } = await runtime.resolve({ signal });
   * ```
   */
  async resolve(options: CallOptions = {}): Promise<Endpoint> {
    if (this.#isClosed) throw new RuntimeUnavailableError("runtime_unavailable", `The ${this.name} was closed.`, { isRetryable: false });
    this.#running ??= this.#start().catch((error: unknown) => {
      this.#running = null;
      throw error;
    });
    return abortable(
      this.#running.then((running) => running.endpoint),
      this.name,
      options.signal,
    );
  }

  /**
   * Ends it and whatever it started: SIGTERM, and SIGKILL after `graceMs` (default 5000). A runtime's jobs keep their checkpoints.
   * @example
   * ```ts
   * await runtime.close({ graceMs: 2000 });
   * ```
   */
  async close({ graceMs = 5000 }: { graceMs?: number } = {}): Promise<void> {
    this.#isClosed = true;
    this.#closing ??= this.#end(graceMs);
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(graceMs: number): Promise<void> {
    const running = await this.#running?.catch(() => null);
    if (running == null) return;
    running.endpoint.catch(() => {});
    kill(running.child, "SIGTERM");
    const timer = setTimeout(() => kill(running.child, "SIGKILL"), graceMs);
    await running.exited;
    clearTimeout(timer);
    // what it started itself is gone with it
    kill(running.child, "SIGKILL");
  }

  async #start(): Promise<Running> {
    const wait = this.#notBefore - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const launch = await this.launch();
    const { file, args, cwd, env } = launch;
    const startedAt = Date.now();
    // A group of its own: a Ctrl-C in the terminal is the host's to handle, and the whole group can be ended.
    const child = spawn(file, args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    const stderr: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      stderr.push(line);
      if (stderr.length > STDERR_LINES) stderr.shift();
      this.#options.logger?.debug({ service: this.name }, line);
    });
    child.stdin.on("error", () => {});
    const stdout = createInterface({ input: child.stdout });
    const ended = new AbortController();
    const exited = new Promise<ServiceExit>((resolve) => {
      child.once("error", (error) => resolve({ code: null, signal: null, output: error.message }));
      child.once("close", (code, signal) => resolve({ code, signal, output: stderr.join("\n") }));
    });
    const timer = setTimeout(() => {
      ended.abort(
        new RuntimeUnavailableError(
          "runtime_unavailable",
          `The ${this.name} was not ready after ${this.#options.startTimeoutMs / 1000} s. Its last words:\n${stderr.join("\n")}`,
        ),
      );
      kill(child, "SIGKILL");
    }, this.#options.startTimeoutMs);
    void exited.then((exit) => {
      clearTimeout(timer);
      ended.abort(this.#exitError(exit));
      this.#running = null;
      this.#child = null;
      if (this.#isClosed) return;
      kill(child, "SIGKILL");
      this.#crashes = Date.now() - startedAt > STABLE_MS ? 1 : this.#crashes + 1;
      this.#notBefore = Date.now() + (this.#crashes < 2 ? 0 : Math.min(LONGEST_BACKOFF_MS, 500 * 2 ** (this.#crashes - 2)));
      this.#options.logger?.warn(
        { service: this.name, code: exit.code, signal: exit.signal },
        "a local service ended; the next call starts it again",
      );
      this.#options.onExit?.(exit);
    });
    const endpoint = this.#ready(launch, stdout, ended.signal, exited).finally(() => {
      clearTimeout(timer);
      // a host that has nothing else to do may end; the closed stdin then ends the process
      child.unref();
      for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as unknown as { unref?: () => void }).unref?.();
    });
    endpoint.catch(() => kill(child, "SIGKILL"));
    return { child, exited, endpoint };
  }

  async #ready(
    launch: ServiceLaunch,
    stdout: ReturnType<typeof createInterface>,
    ended: AbortSignal,
    exited: Promise<ServiceExit>,
  ): Promise<Endpoint> {
    const service: StartingService = { onLine: (listener) => void stdout.on("line", listener), ended };
    const failed = new Promise<never>((_, reject) => {
      ended.addEventListener("abort", () => reject(ended.reason), { once: true });
    });
    try {
      return await Promise.race([launch.ready(service), failed]);
    } catch (error) {
      if (ClaraError.isInstance(error) && error.code !== "runtime_unavailable") throw error;
      if (ClaraError.isInstance(error) && ended.aborted) throw error;
      throw this.#exitError(await exited, error);
    }
  }

  #exitError(exit: ServiceExit, cause?: unknown): RuntimeUnavailableError {
    const how = exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
    const said = cause instanceof Error ? `${cause.message} ` : "";
    return new RuntimeUnavailableError(
      "runtime_unavailable",
      `The ${this.name} ended (${how}). ${said}Its last words:\n${exit.output || "(none)"}`,
      {
        cause,
        details: { exitCode: exit.code, signal: exit.signal },
      },
    );
  }
}

function kill(child: Child, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // gone already; and where there are no groups (Windows) the process alone
    if ((error as NodeJS.ErrnoException).code !== "ESRCH" || process.platform === "win32") child.kill(signal);
  }
}

function abortable<T>(work: Promise<T>, name: string, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(new AbortedError(`Waiting for the ${name} was aborted; it goes on starting.`, { cause: signal.reason }));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
