import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { ClaraError, type ClaraOptions, type ConfigProblem, type LoadConfigOptions, loadConfig } from "../../../src/index.js";

let folder: string;

/** A folder for the test file's configurations. */
export function useFolder(): { path(name: string): string } {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "clara-config-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return { path: (name) => join(folder, name) };
}

/** Reads the text as a configuration file, with nothing in the environment. */
export async function loadText(text: string | Uint8Array, options: LoadConfigOptions = {}): Promise<ClaraOptions> {
  const file = join(folder, "clara.yaml");
  await writeFile(file, text);
  return loadConfig(file, { environment: {}, ...options });
}

/** What is wrong with the text. */
export async function problemsOf(
  text: string | Uint8Array,
  options: LoadConfigOptions = {},
): Promise<{ message: string; problems: ConfigProblem[] }> {
  const error = await loadText(text, options).then(
    () => {
      throw new Error("the configuration was loaded");
    },
    (refusal: unknown) => refusal,
  );
  if (!ClaraError.isInstance(error) || error.code !== "config_invalid") throw error;
  return { message: error.message, problems: error.details.problems as ConfigProblem[] };
}
