import { execa } from "execa";

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
  const child = execa(options.file, options.args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: options.env,
    extendEnv: false,
    reject: false,
    buffer: false,
    detached: true,
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
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
  const result = await child;
  clearTimeout(timer);
  options.signal?.removeEventListener("abort", stop);
  await reading;
  const spawnError = child.pid === undefined ? ((result.cause as Error | undefined) ?? new Error(String(result.shortMessage))) : null;
  return { code: result.exitCode ?? null, signal: result.signal ?? null, spawnError, stderr: stderr.trim() };
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
