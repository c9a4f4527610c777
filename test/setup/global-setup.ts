import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { stopServers } from "./postgres-server.js";
import { stopProcesses } from "./server-process.js";

declare module "vitest" {
  interface ProvidedContext {
    /** Folder of this run: servers that some test started leave their state here. */
    runFolder: string;
    /** Process whose end stops the servers. */
    runProcess: number;
  }
}

/** Test servers start when the first test asks for one; this stops them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const runFolder = await mkdtemp(join(tmpdir(), "clara-test-run-"));
  project.provide("runFolder", runFolder);
  project.provide("runProcess", process.pid);
  return async () => {
    await stopServers(runFolder);
    await stopProcesses(runFolder);
    await rm(runFolder, { recursive: true, force: true });
  };
}
