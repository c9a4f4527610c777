import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import lockfile from "proper-lockfile";
import { cacheFolder } from "../../src/support/cache-folder.js";

const PACKAGE = "pyarrow==26.0.1";

/** A Python that has pyarrow, the reference reader of Parquet: made in the cache once. */
export async function pythonWithPyarrow(): Promise<string> {
  const root = join(cacheFolder(), "test-readers");
  const target = join(root, PACKAGE.replace("==", "-"));
  await mkdir(root, { recursive: true });
  const release = await lockfile.lock(root, { stale: 10_000, retries: { retries: 600, factor: 1, minTimeout: 500, maxTimeout: 500 } });
  try {
    if (!existsSync(target)) {
      const half = `${target}.half`;
      await rm(half, { recursive: true, force: true });
      await execa(process.env.CLARA_PYTHON || "python3", ["-m", "venv", half]);
      await execa(join(half, "bin", "python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", PACKAGE]);
      await rename(half, target);
    }
  } catch (error) {
    throw new Error(`${PACKAGE} from PyPI could not be installed into ${target}: Python 3.11+ with venv and a reachable PyPI are needed.`, {
      cause: error,
    });
  } finally {
    await release();
  }
  return join(target, "bin", "python");
}
