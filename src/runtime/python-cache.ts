import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder } from "../support/cache-folder.js";
import type { Python } from "./find-python.js";

/** What is installed beside the trainer: nothing, or vLLM. */
export type RuntimeEngine = "local" | "vllm";

/** Installer of everything else; the same one everywhere. */
export const UV_VERSION = "0.13.9";
/** Written last; an environment without it is unfinished and is made anew. */
export const MARKER = "clara-environment.json";

/** What an environment holds. */
export interface EnvironmentVariant {
  engine: RuntimeEngine;
  hasGpu: boolean;
  /** With what the Python tests need. */
  isForTests: boolean;
}

/** The requirement files of a variant that this package has. */
export function requirementFiles(
  sourceFolder: string,
  { engine, hasGpu, isForTests }: EnvironmentVariant,
): { requirements: string[]; overrides: string | null } {
  const requirements = [join(sourceFolder, "requirements.txt")];
  if (isForTests) requirements.push(join(sourceFolder, "requirements-dev.txt"));
  if (engine === "vllm") requirements.push(join(sourceFolder, hasGpu ? "requirements-vllm.txt" : "requirements-vllm-cpu.txt"));
  const overrides = join(sourceFolder, "overrides.txt");
  return { requirements, overrides: existsSync(overrides) ? overrides : null };
}

/** Where the environment for exactly these requirements and this interpreter lies. */
export async function environmentFolder(
  sourceFolder: string,
  python: Python,
  variant: EnvironmentVariant,
  cache: string = cacheFolder(),
): Promise<string> {
  const { requirements, overrides } = requirementFiles(sourceFolder, variant);
  const hash = createHash("sha256");
  for (const file of [...requirements, ...(overrides === null ? [] : [overrides])]) hash.update(await readFile(file)).update("\0");
  hash.update([python.version, python.executable, python.platform, variant.engine, variant.hasGpu ? "gpu" : "cpu", UV_VERSION].join("\0"));
  return join(cache, "python", hash.digest("hex").slice(0, 20));
}

/** The interpreter of an environment folder. */
export function interpreterOf(folder: string): string {
  return process.platform === "win32" ? join(folder, "Scripts", "python.exe") : join(folder, "bin", "python");
}

export function isComplete(folder: string): boolean {
  return existsSync(join(folder, MARKER)) && existsSync(interpreterOf(folder));
}
