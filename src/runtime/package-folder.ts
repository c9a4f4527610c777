import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigurationError } from "../errors.js";

/** Deepest place of this module below the package root: `src/runtime/`, `dist/`, or a chunk folder of a bundle. */
const LEVELS = 6;

/**
 * The folder of this package, which ships `gpu-runtime` and `examples/data`.
 * @throws ConfigurationError `config_invalid` where a bundler left its files behind
 */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < LEVELS; level += 1) {
    if (existsSync(join(folder, "gpu-runtime", "clara_runtime", "__init__.py"))) return folder;
    folder = dirname(folder);
  }
  throw new ConfigurationError(
    "config_invalid",
    "The folder gpu-runtime of clara-sdk was not found beside this code. Do not bundle clara-sdk: mark it as external, so that its files stay together.",
  );
}

/** The folder `gpu-runtime` that this package ships; it holds the Python package and its requirements. */
export function runtimeSourceFolder(): string {
  return join(packageFolder(), "gpu-runtime");
}

/**
 * The tiny base model that this package ships: two million parameters that show the loop at work and know nothing.
 * @example
 * ```ts
 * await using runtime = new LocalRuntime({ root: ".clara/runtime", model: tinyBaseModel() });
 * ```
 */
export function tinyBaseModel(): string {
  return join(runtimeSourceFolder(), "models", "tiny-base");
}
