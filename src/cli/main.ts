#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineCommand, runMain } from "citty";
import { packageFolder } from "../runtime/index.js";
import { adapters } from "./commands/adapters.js";
import { demo } from "./commands/demo.js";
import { doctor } from "./commands/doctor.js";
import { feedback } from "./commands/feedback.js";
import { runtime } from "./commands/runtime.js";
import { worker } from "./commands/worker.js";

const { version } = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8")) as { version: string };

await runMain(
  defineCommand({
    meta: { name: "clara", version, description: "Makes an application's own language model learn from the application's users" },
    subCommands: { demo, runtime, worker, feedback, adapters, doctor },
  }),
);
