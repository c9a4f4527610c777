import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigurationError } from "../errors.js";

/** Deepest place of this module below the package root: `src/runtime/`, `dist/`, or a chunk folder of a bundle. */
const LEVELS = 6;

/**
 * The folder `gpu-runtime` that this package ships; it holds the Python package and its requirements.
 * @throws ConfigurationError `config_invalid` where a bundler left it behind
 */
export function runtimeSourceFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < LEVELS; level += 1) {
    const candidate = join(folder, "gpu-runtime");
    if (existsSync(join(candidate, "clara_runtime", "__init__.py"))) return candidate;
    folder = dirname(folder);
  }
  throw new ConfigurationError(
    "config_invalid",
    "The folder gpu-runtime of clara-sdk was not found beside this code. Do not bundle clara-sdk: mark it as external, so that its files stay together.",
  );
}
