/** Installs in a process of its own: `install.ts PYTHON CACHE_FOLDER`. Prints each step, then `installed FOLDER`. */
import { installRuntime } from "../../../src/runtime/install-runtime.js";

const [python = "", cacheFolder = ""] = process.argv.slice(2);
const { folder } = await installRuntime({ python, cacheFolder, onProgress: ({ step }) => process.stdout.write(`step ${step}\n`) });
process.stdout.write(`installed ${folder}\n`);
