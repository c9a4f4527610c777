import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const hooks = new URL("../../scripts/ts-hooks.mjs", import.meta.url).href;

/** A child process that runs a TypeScript file of this repository. */
export interface TsProcess {
  child: ChildProcess;
  /** Lines of its standard output, in order, as they come; each can be awaited once. */
  nextLine(): Promise<string>;
  /** Waits for a line that starts with `prefix` and returns what follows it. */
  waitFor(prefix: string): Promise<string>;
  /** Everything written to standard error so far. */
  errors(): string;
  /** Resolves with the exit status (null after a signal). */
  ended: Promise<number | null>;
}

/**
 * Starts `file` (path or URL) with type stripping; imports of `./x.js` find `./x.ts`.
 * Type stripping knows no enums, parameter properties or decorators.
 */
export function runTs(file: string | URL, args: string[] = [], env: Record<string, string> = {}): TsProcess {
  const path = file instanceof URL ? fileURLToPath(file) : file;
  const child = spawn(process.execPath, ["--import", hooks, path, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, NODE_OPTIONS: "", ...env },
  });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString("utf8");
  });
  const ended = once(child, "close").then(([status]) => status as number | null);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${path} ended with status ${await ended}: ${errors}`);
    return value as string;
  };
  return {
    child,
    nextLine,
    waitFor: async (prefix) => {
      for (;;) {
        const line = await nextLine();
        if (line.startsWith(prefix)) return line.slice(prefix.length).trim();
      }
    },
    errors: () => errors,
    ended,
  };
}
