import { ClaraError } from "../errors.js";

/** Exit codes of the command: 0 done, 1 it did not succeed, 2 wrong usage or configuration. */
export const ExitCode = { ok: 0, failed: 1, usage: 2 } as const;

/** Writes a line for people to stderr, so that stdout holds results only. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Writes the result: as one JSON line with `--json`, else as text. */
export function print(result: unknown, { json, text }: { json: boolean; text: (() => string) | string }): void {
  process.stdout.write(`${json ? JSON.stringify(result) : typeof text === "function" ? text() : text}\n`);
}

/** Runs a command's body; a `ClaraError` becomes its message and an exit code, anything else keeps its stack. */
export async function guarded(body: (signal: AbortSignal) => Promise<number | undefined>): Promise<void> {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130);
    say("Stopping (again to force) …");
    controller.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  try {
    process.exitCode = (await body(controller.signal)) ?? ExitCode.ok;
  } catch (error) {
    if (ClaraError.isInstance(error)) {
      say(`clara: ${error.message} [${error.code}]`);
      process.exitCode = error.code === "config_invalid" || error.code === "input_invalid" ? ExitCode.usage : ExitCode.failed;
    } else if (controller.signal.aborted) {
      process.exitCode = 130;
    } else {
      say(error instanceof Error ? (error.stack ?? error.message) : String(error));
      process.exitCode = ExitCode.failed;
    }
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}
