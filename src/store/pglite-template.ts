import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder } from "./cache-folder.js";

/** Bumped with the PGlite version: a template only serves the build that made it. */
const TEMPLATE = "pglite-0.5.14";

/**
 * Fills an empty database folder from the cached copy of a freshly made one, which is several times quicker than initdb in WASM.
 * Returns false where there is no sound template.
 */
export async function copyTemplate(folder: string): Promise<boolean> {
  const template = join(cacheFolder(), TEMPLATE);
  try {
    const expected = JSON.parse(await readFile(join(template, "complete.json"), "utf8")) as unknown;
    if (JSON.stringify(expected) !== JSON.stringify(await measure(join(template, "database")))) return false;
    const half = `${folder}.${randomUUID()}`;
    await cp(join(template, "database"), half, { recursive: true, mode: constants.COPYFILE_FICLONE });
    await rename(half, folder);
    return true;
  } catch {
    // No cache, not readable, no space: initdb does the same, slower, and tells what is wrong.
    return false;
  }
}

/** Keeps a copy of a cleanly closed, empty database for the next one; does nothing where the cache cannot be written. */
export async function saveTemplate(folder: string): Promise<void> {
  const template = join(cacheFolder(), TEMPLATE);
  const half = `${template}.${randomUUID()}`;
  try {
    await mkdir(half, { recursive: true, mode: 0o700 });
    await cp(folder, join(half, "database"), { recursive: true, mode: constants.COPYFILE_FICLONE });
    await writeFile(join(half, "complete.json"), JSON.stringify(await measure(join(half, "database"))));
    await rm(template, { recursive: true, force: true });
    await rename(half, template);
  } catch {
    // Another process was first, or the cache cannot be written: the template only saves time.
    await rm(half, { recursive: true, force: true });
  }
}

/** Number and total size of the files: what a cleaner of temporary files would change. */
async function measure(folder: string): Promise<{ files: number; bytes: number }> {
  let files = 0;
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    files += 1;
    bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return { files, bytes };
}
