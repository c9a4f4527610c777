import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineCommand, runMain } from "citty";
import { packageFolder } from "../runtime/package-folder.js";
import { adapters } from "./commands/adapters.js";
import { canaries } from "./commands/canaries.js";
import { demo } from "./commands/demo.js";
import { doctor } from "./commands/doctor.js";
import { feedback } from "./commands/feedback.js";
import { runtime } from "./commands/runtime.js";
import { worker } from "./commands/worker.js";
import { ExitCode, guarded } from "./terminal.js";
import { refuseUnknownOptions } from "./usage.js";

const { version } = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8")) as { version: string };

const clara = defineCommand({
  meta: { name: "clara", version, description: "Makes an application's own language model learn from the application's users" },
  subCommands: { demo, runtime, worker, feedback, adapters, canaries, doctor },
});

await guarded(async () => {
  refuseUnknownOptions(clara, process.argv.slice(2));
  return ExitCode.ok;
});
if (process.exitCode === ExitCode.ok) await runMain(clara);
