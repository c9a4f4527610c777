import { open, readdir } from "node:fs/promises";
import { join } from "node:path";

/** Forces every file and folder under `folder` to the disk. */
export async function flushFolder(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  const flushEntry = async (entry: (typeof entries)[number]) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await flushFolder(path);
    else if (entry.isFile()) await flushPath(path);
  };
  // Several at a time share the file system's own commits.
  for (let start = 0; start < entries.length; start += 32) await Promise.all(entries.slice(start, start + 32).map(flushEntry));
  await flushPath(folder);
}

/** Forces one file, or a folder's list of names, to the disk. */
export async function flushPath(path: string): Promise<void> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, "r");
  } catch (error) {
    // A file that is gone needs no flush; Windows opens no folders.
    if (["ENOENT", "EISDIR", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return;
    throw error;
  }
  try {
    await handle.sync();
  } catch (error) {
    // Windows syncs no handle that is open for reading only.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
  } finally {
    await handle.close();
  }
}
