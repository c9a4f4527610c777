import { spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import lockfile from "proper-lockfile";

interface RunningProcess {
  url: string;
  pid: number;
  folder: string;
}

/** How a server is started: its command line, given its own folder, and the URL once it answers (null: not yet). */
export interface ServerProgram {
  command(folder: string): Promise<string[]>;
  url(folder: string): Promise<string | null>;
}

/** Longest start on a loaded machine. */
const START_WITHIN_MS = 120_000;

/** URL of the run's server of this name, started by whoever asks first. */
export async function startProcess(runFolder: string, runProcess: number, name: string, program: ServerProgram): Promise<string> {
  const stateFile = join(runFolder, `process-${name}.json`);
  const release = await lockfile.lock(stateFile, {
    realpath: false,
    stale: 10_000,
    retries: { retries: 600, factor: 1, minTimeout: 500, maxTimeout: 500 },
  });
  try {
    if (existsSync(stateFile)) return (JSON.parse(await readFile(stateFile, "utf8")) as RunningProcess).url;
    const server = await start(name, program);
    await writeFile(stateFile, JSON.stringify(server));
    watchOver(server, runProcess);
    return server.url;
  } finally {
    await release();
  }
}

/** Stops every server that the run started. */
export async function stopProcesses(runFolder: string): Promise<void> {
  for (const file of await readdir(runFolder)) {
    if (/^process-\w+\.json$/.test(file)) await stop(JSON.parse(await readFile(join(runFolder, file), "utf8")) as RunningProcess);
  }
}

async function start(name: string, program: ServerProgram): Promise<RunningProcess> {
  const folder = await mkdtemp(join(tmpdir(), `clara-${name}-`));
  const [file = "", ...args] = await program.command(folder);
  const log = openSync(join(folder, "log"), "a");
  const child = spawn(file, args, { cwd: folder, detached: true, stdio: ["ignore", log, log] });
  const failed = new Promise<never>((_resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code}`)));
  });
  const given = new AbortController();
  try {
    const url = await Promise.race([whenReady(program, folder, given.signal), failed]);
    child.unref();
    return { url, pid: child.pid as number, folder };
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`The tests' ${name} did not start: ${await readFile(join(folder, "log"), "utf8")}`, { cause: error });
  } finally {
    given.abort();
    child.removeAllListeners();
    failed.catch(() => {});
  }
}

async function whenReady(program: ServerProgram, folder: string, signal: AbortSignal): Promise<string> {
  for (const end = Date.now() + START_WITHIN_MS; Date.now() < end; ) {
    signal.throwIfAborted();
    const url = await program.url(folder);
    if (url !== null) return url;
    await delay(100, undefined, { signal });
  }
  throw new Error(`it did not answer within ${START_WITHIN_MS} ms`);
}

async function stop({ pid, folder }: RunningProcess): Promise<void> {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It ended by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

/** A run that is killed leaves no server behind; a server that was stopped has no folder any more. */
function watchOver({ pid, folder }: RunningProcess, runProcess: number): void {
  const script = `while kill -0 ${runProcess} 2>/dev/null && [ -d '${folder}' ]; do sleep 2; done; [ -d '${folder}' ] && kill -KILL ${pid}; rm -rf '${folder}'`;
  spawn("sh", ["-c", script], { detached: true, stdio: "ignore" }).unref();
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
