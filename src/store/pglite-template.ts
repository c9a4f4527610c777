import { randomUUID } from "node:crypto";
import { constants, type Dirent } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { cacheFolder } from "../support/cache-folder.js";

/** Bumped with the PGlite version: a template only serves the build that made it. */
const TEMPLATE = "pglite-0.5.14";

/**
 * Fills an empty database folder from the cached copy of a freshly made one, which is several times quicker than initdb in WASM.
 * Returns false where there is no sound template.
 */
export async function copyTemplate(folder: string): Promise<boolean> {
  const template = join(cacheFolder(), TEMPLATE);
  const half = `${folder}.${randomUUID()}`;
  try {
    const expected = JSON.parse(await readFile(join(template, "complete.json"), "utf8")) as { files: number };
    // Fewer files than at first: a cleaner of temporary files went over it.
    if ((await copyFolder(join(template, "database"), half)) !== expected.files) throw new Error("the template is not whole");
    await rename(half, folder);
    return true;
  } catch {
    // No cache, not readable, no space: initdb does the same, slower, and tells what is wrong.
    await rm(half, { recursive: true, force: true });
    return false;
  }
}

/** Keeps a copy of a cleanly closed, empty database for the next one; does nothing where the cache cannot be written. */
export async function saveTemplate(folder: string): Promise<void> {
  const template = join(cacheFolder(), TEMPLATE);
  const half = `${template}.${randomUUID()}`;
  try {
    await mkdir(half, { recursive: true, mode: 0o700 });
    const files = await copyFolder(folder, join(half, "database"));
    await writeFile(join(half, "complete.json"), JSON.stringify({ files }));
    await rm(template, { recursive: true, force: true });
    await rename(half, template);
  } catch {
    // Another process was first, or the cache cannot be written: the template only saves time.
    await rm(half, { recursive: true, force: true });
  }
}

/** Copies a tree of plain files and folders, and returns the number of files. */
async function copyFolder(from: string, to: string): Promise<number> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true });
  await mkdir(to, { mode: 0o700 });
  const target = (entry: Dirent) => join(to, relative(from, entry.parentPath), entry.name);
  for (const entry of entries) if (entry.isDirectory()) await mkdir(target(entry), { recursive: true, mode: 0o700 });
  const files = entries.filter((entry) => entry.isFile());
  await Promise.all(files.map((entry) => copyFile(join(entry.parentPath, entry.name), target(entry), constants.COPYFILE_FICLONE)));
  return files.length;
}
