import { execa } from "execa";

export interface ProgramOptions {
  file: string;
  args: string[];
  cwd: string;
  env: Record<string, string>;
  /** SIGTERM to the whole group, SIGKILL two seconds later. */
  signal: AbortSignal;
  onLine: (line: string) => void;
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

/** Runs a program as a process group of its own and hands on its stdout line by line. Never rejects. */
export async function runProgram(options: ProgramOptions): Promise<ProgramExit> {
  const child = execa(options.file, options.args, {
    cwd: options.cwd,
    env: options.env,
    extendEnv: false,
    reject: false,
    buffer: false,
    detached: true,
    cleanup: true,
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARACTERS);
  });
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    killGroup(child.pid, "SIGTERM");
    timer = setTimeout(() => killGroup(child.pid, "SIGKILL"), GRACE_MS);
  };
  if (options.signal.aborted) stop();
  else options.signal.addEventListener("abort", stop, { once: true });
  const reading = readLines(child, options.onLine);
  const result = await child;
  clearTimeout(timer);
  options.signal.removeEventListener("abort", stop);
  // workers that it left behind
  killGroup(child.pid, "SIGKILL");
  await reading;
  const spawnError = child.pid === undefined ? ((result.cause as Error | undefined) ?? new Error(String(result.shortMessage))) : null;
  return { code: result.exitCode ?? null, signal: result.signal ?? null, spawnError, stderr: stderr.trim() };
}

async function readLines(child: { stdout: NodeJS.ReadableStream }, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  child.stdout.setEncoding("utf8");
  for await (const text of child.stdout) {
    const lines = (rest + String(text)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") onLine(line);
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
