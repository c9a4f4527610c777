import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { installOnce } from "./install-once.js";
import { freePort, type ServerProgram } from "./server-process.js";

/** The server is the package's binary part; none of its many dependencies is needed for it. */
const PACKAGE = "chromadb==1.5.9";

/** Python of an environment that can run Chroma. */
export async function installChroma(): Promise<string> {
  const folder = await installOnce(PACKAGE.replace("==", "-"), async (half) => {
    try {
      await execa(process.env.CLARA_PYTHON || "python3", ["-m", "venv", half]);
      await execa(join(half, "bin", "python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", PACKAGE]);
    } catch (error) {
      throw new Error(
        `The tests' Chroma (${PACKAGE} from PyPI) could not be installed: Python 3.10+ with venv and a reachable PyPI are needed.`,
        {
          cause: error,
        },
      );
    }
  });
  return join(folder, "bin", "python");
}

export const chromaServer: ServerProgram = {
  async command(folder) {
    const python = await installChroma();
    const port = await freePort();
    await writeFile(join(folder, "url"), `http://127.0.0.1:${port}`);
    const run = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(sys.argv)";
    return [python, "-c", run, "run", "--host", "127.0.0.1", "--port", String(port), "--path", join(folder, "data")];
  },
  async url(folder) {
    const url = await readFile(join(folder, "url"), "utf8");
    try {
      return (await fetch(`${url}/api/v2/heartbeat`)).ok ? url : null;
    } catch {
      return null;
    }
  },
};
