import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import lockfile from "proper-lockfile";
import { cacheFolder } from "../../src/support/cache-folder.js";

/** Folder of a test server's programs in the cache; `install` fills it where it is not there yet, whole or not at all. */
export async function installOnce(name: string, install: (folder: string) => Promise<void>): Promise<string> {
  const root = join(cacheFolder(), "test-servers");
  const target = join(root, name);
  await mkdir(root, { recursive: true });
  const release = await lockfile.lock(target, {
    realpath: false,
    stale: 10_000,
    retries: { retries: 600, factor: 1, minTimeout: 500, maxTimeout: 500 },
  });
  try {
    if (existsSync(target)) return target;
    const half = `${target}.half`;
    await rm(half, { recursive: true, force: true });
    await mkdir(half);
    await install(half);
    await rename(half, target);
    return target;
  } finally {
    await release();
  }
}
