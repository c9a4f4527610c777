import { spawn } from "node:child_process";

export interface ProgramOptions {
  file: string;
  args: string[];
  cwd?: string;
  env: Record<string, string>;
  /** SIGTERM to the whole group, SIGKILL two seconds later. */
  signal?: AbortSignal | undefined;
  /** Each line of stdout. */
  onLine?: (line: string) => void;
  /** Each line of stderr. */
  onErrorLine?: (line: string) => void;
}

/** How a program ended. */
export interface ProgramExit {
  code: number | null;
  signal: string | null;
  /** It never ran. */
  spawnError: Error | null;
  /** The end of its stderr. */
  stderr: string;
}

const GRACE_MS = 2000;
const STDERR_CHARACTERS = 4000;

/** Runs a program as a process group of its own and hands on what it prints, line by line. Never rejects. */
export async function runProgram(options: ProgramOptions): Promise<ProgramExit> {
  const child = spawn(options.file, options.args, { cwd: options.cwd, env: options.env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  // nothing is written to it: it only ends with this process
  child.stdin.on("error", () => {});
  const ended = new Promise<Pick<ProgramExit, "code" | "signal" | "spawnError">>((resolve) => {
    child.once("error", (error) => {
      if (child.pid === undefined) resolve({ code: null, signal: null, spawnError: error });
    });
    child.once("close", (code, signal) => resolve({ code, signal, spawnError: null }));
  });
  // what it started itself would hold its pipes open
  child.once("exit", () => killGroup(child.pid, "SIGKILL"));
  let stderr = "";
  const reading = Promise.all([
    readLines(child.stdout, options.onLine ?? (() => {})),
    readLines(child.stderr, (line) => {
      stderr = `${stderr}${line}\n`.slice(-STDERR_CHARACTERS);
      options.onErrorLine?.(line);
    }),
  ]);
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    killGroup(child.pid, "SIGTERM");
    timer = setTimeout(() => killGroup(child.pid, "SIGKILL"), GRACE_MS);
  };
  if (options.signal?.aborted) stop();
  else options.signal?.addEventListener("abort", stop, { once: true });
  const exit = await ended;
  clearTimeout(timer);
  options.signal?.removeEventListener("abort", stop);
  await reading;
  return { ...exit, stderr: stderr.trim() };
}

async function readLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  stream.setEncoding("utf8");
  try {
    for await (const text of stream) {
      const lines = (rest + String(text)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "") onLine(line);
    }
  } catch {
    // The pipe broke with the process; how that ended is told by its exit.
  }
  if (rest !== "") onLine(rest);
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // the group is gone
  }
}
