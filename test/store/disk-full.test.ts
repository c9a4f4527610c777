import { execFileSync } from "node:child_process";
import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../src/store/index.js";

let folder: string;
let isMounted = false;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-full-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=160m", "tmpfs", folder], { stdio: "ignore" });
    isMounted = true;
  } catch {
    // Only root may mount; the tests say that they were left out.
  }
});
afterAll(async () => {
  if (isMounted) execFileSync("umount", ["--lazy", folder]);
  await rm(folder, { recursive: true, force: true });
});

describe("a full disk", () => {
  it("is reported, acknowledges nothing, and loses nothing that was acknowledged", async (context) => {
    if (!isMounted) return context.skip("mounting a small disk needs root");
    const database = { dataDir: join(folder, "state") };
    const store = await openStore({ database });
    await sql`create table clara.fill (id int, text text)`.execute(store.db);
    await store.journal!.append({ kind: "test", id: "before", payload: null });
    let acknowledged = 0;
    await fillDisk(2);

    await expect(store.journal!.append({ kind: "test", id: "too long", payload: "x".repeat(8 * 1024 * 1024) })).rejects.toMatchObject({
      code: "disk_full",
    });
    const refused = await (async () => {
      for (let id = 1; ; id += 1) {
        await sql`insert into clara.fill select ${id}, string_agg(md5(random()::text), '') from generate_series(1, 5000)`.execute(store.db);
        acknowledged = id;
      }
    })().catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: "StorageError", code: expect.stringMatching(/^(disk_full|store_unavailable)$/) });
    await store.close().catch(() => {});

    await rm(join(folder, "filler"));
    const again = await openStore({ database });
    const { rows } = await sql<{ id: number }>`select id from clara.fill order by id`.execute(again.db);
    expect(rows.map((row) => row.id).slice(0, acknowledged)).toEqual(Array.from({ length: acknowledged }, (_, index) => index + 1));
    const ids: string[] = [];
    await again.journal!.replay("test", async ({ id }) => void ids.push(id));
    expect(ids).toEqual(["before"]);
    await again.journal!.append({ kind: "test", id: "after", payload: null });
    await again.close();
  });

  it("is reported when a store is made on it", async (context) => {
    if (!isMounted) return context.skip("mounting a small disk needs root");
    await fillDisk(1);
    await expect(openStore({ database: { dataDir: join(folder, "new") } })).rejects.toMatchObject({ code: "disk_full" });
    await rm(join(folder, "filler"));
  });
});

/** Leaves `megabytes` free. */
async function fillDisk(megabytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  await writeFile(join(folder, "filler"), Buffer.alloc(bavail * bsize - megabytes * 1024 * 1024));
}
