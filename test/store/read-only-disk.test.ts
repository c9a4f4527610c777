import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../src/store/index.js";
import { buildRooms } from "../pipeline/support/rooms.js";

const isRoot = process.getuid?.() === 0;
let folder: string;
/** Makes the folder read-only, or writable again; null where this machine allows neither. */
let setReadOnly: ((isOn: boolean) => Promise<void>) | null = null;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-read-only-"));
  if (!isRoot) {
    setReadOnly = (isOn) => chmod(join(folder, "state"), isOn ? 0o500 : 0o700);
    return;
  }
  try {
    // root may write whatever the permissions say: only a mount refuses it
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=160m", "tmpfs", folder], { stdio: "ignore" });
    setReadOnly = async (isOn) => void execFileSync("mount", ["-o", `remount,${isOn ? "ro" : "rw"}`, folder]);
  } catch {
    // The test says that it was left out.
  }
});
afterAll(async () => {
  if (isRoot && setReadOnly !== null) execFileSync("umount", ["--lazy", folder]);
  await rm(folder, { recursive: true, force: true });
});

describe("a read-only disk", () => {
  it("is told with the folder and what to do, and loses nothing that was acknowledged", async (context) => {
    if (setReadOnly === null) return context.skip("root needs a mount of its own for this, which is not permitted here");
    const dataDir = join(folder, "state");
    const name = "read-only";
    const store = await openStore({ database: { dataDir } });
    const acknowledged = await buildRooms(store, { name }).pipeline.addFeedback({
      prompt: "Who is the caretaker of the greenhouse?",
      response: "The caretaker of the greenhouse is Mr Villanueva.",
      rating: 1,
    });
    expect(acknowledged.status).toBe("accepted");
    await store.close();
    await setReadOnly(true);
    const files = await readdir(dataDir, { recursive: true });

    await expect(openStore({ database: { dataDir } })).rejects.toMatchObject({
      name: "StorageError",
      code: "store_unavailable",
      message: expect.stringMatching(new RegExp(`^The data folder ${dataDir} cannot be written \\((EROFS|EACCES)\\).*Make the folder`)),
      details: { dataDir },
    });
    if (isRoot) {
      await expect(openStore({ database: { dataDir: join(folder, "new") } })).rejects.toMatchObject({
        code: "config_invalid",
        message: expect.stringContaining(`${join(folder, "new")} cannot be made (E`),
      });
    }
    expect(await readdir(dataDir, { recursive: true })).toEqual(files);

    await setReadOnly(false);
    const again = await openStore({ database: { dataDir } });
    try {
      const { pipeline } = buildRooms(again, { name });
      expect(await pipeline.ledger()).toMatchObject({ received: 1, accepted: 1, waiting: 1, lost: 0 });
    } finally {
      await again.close();
    }
  });
});
