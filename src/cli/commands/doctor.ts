import { defineCommand } from "citty";
import { ClaraError } from "../../errors.js";
import { findPython, findRuntime } from "../../runtime/index.js";
import { connect, connectionArgs, readConfig } from "../connection.js";
import { ExitCode, guarded, print } from "../terminal.js";

interface Finding {
  check: string;
  ok: boolean;
  message: string;
}

async function examine(check: string, work: () => Promise<string>): Promise<Finding> {
  try {
    return { check, ok: true, message: await work() };
  } catch (error) {
    return { check, ok: false, message: ClaraError.isInstance(error) ? `${error.message} [${error.code}]` : String(error) };
  }
}

/** Names what has no effect. */
async function describeConfig(file: string, signal: AbortSignal): Promise<string> {
  const { notes = [] } = await readConfig(file, signal);
  const lines = notes.map(
    ({ path, variable, line, message }) => `\n    ${variable ?? `line ${line}`}: ${[path, message].join(" ").trim()}`,
  );
  return `${file} is right${lines.join("")}`;
}

export const doctor = defineCommand({
  meta: { name: "doctor", description: "What works on this machine, and what is missing" },
  args: connectionArgs,
  run: ({ args }) =>
    guarded(async (signal) => {
      const findings: Finding[] = [
        await examine("Python", async () => {
          const python = await findPython({ signal });
          return `${python.version} at ${python.executable}`;
        }),
        await examine("runtime environment", async () => {
          const environment = await findRuntime({ engine: "local" });
          return environment ? environment.python : "not installed yet: `clara runtime install` makes it";
        }),
        ...(args.config === undefined ? [] : [await examine("configuration", () => describeConfig(args.config as string, signal))]),
        await examine("database", async () => {
          await using clara = await connect(args, { worker: false, signal });
          const { kind, capabilities } = clara.store;
          return `${kind}; vector search ${capabilities.vector ? "in the database" : "not in the database"}`;
        }),
      ];
      print(findings, {
        json: args.json,
        text: () => findings.map(({ check, ok, message }) => `${ok ? "✓" : "✗"} ${check}: ${message}`).join("\n"),
      });
      return findings.every((finding) => finding.ok) ? ExitCode.ok : ExitCode.failed;
    }),
});
