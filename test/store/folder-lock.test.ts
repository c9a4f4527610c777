import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../src/store/index.js";
import { runTs } from "../setup/index.js";

const child = new URL("./children/open-store.ts", import.meta.url);
let folder: string;
let database: { dataDir: string };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-lock-"));
  database = { dataDir: join(folder, "state") };
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("the lock of an embedded store", () => {
  it("refuses a second process at once, by the holder's name", async () => {
    const holder = runTs(child, [JSON.stringify(database), "hold"]);
    const pid = Number(await holder.waitFor("open"));

    const error = await openStore({ database }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "store_locked", isRetryable: true, details: { dataDir: database.dataDir, pid, host: hostname() } });
    expect((error as Error).message).toContain(`process ${pid} on ${hostname()}`);
    expect((error as Error).message).toContain(database.dataDir);

    holder.child.stdin?.end();
    await holder.waitFor("closed");
    expect(await holder.ended).toBe(0);
    const store = await openStore({ database });
    await store.close();
  });

  it("refuses the same process, too", async () => {
    const store = await openStore({ database });
    await expect(openStore({ database })).rejects.toMatchObject({ code: "store_locked", message: expect.stringContaining("this process") });
    await store.close();
  });

  it("is taken over after the holder was killed with -9", async () => {
    const holder = runTs(child, [JSON.stringify(database), "hold"]);
    await holder.waitFor("open");
    const record = JSON.parse(await readFile(join(database.dataDir, "lock.json"), "utf8")) as { pid: number };
    expect(record.pid).toBe(holder.child.pid);
    holder.child.kill("SIGKILL");
    expect(await holder.ended).toBeNull();

    const store = await openStore({ database });
    expect((await store.pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    await store.close();
  });

  it("goes to exactly one of many that find its holder dead", async () => {
    const holder = runTs(child, [JSON.stringify(database), "hold"]);
    await holder.waitFor("open");
    holder.child.kill("SIGKILL");
    await holder.ended;

    const rivals = Array.from({ length: 4 }, () => runTs(child, [JSON.stringify(database), "hold"]));
    const answers = await Promise.all(rivals.map(async (rival) => (await rival.nextLine()).split(" ").slice(0, 2).join(" ")));
    const winners = rivals.filter(({ child: { pid } }) => answers.includes(`open ${pid}`));
    expect(winners).toHaveLength(1);
    expect(answers.filter((answer) => answer === "error store_locked")).toHaveLength(3);
    for (const { child: winner } of winners) winner.stdin?.end();
    await Promise.all(rivals.map(({ ended }) => ended));
  });

  it("that is taken away stops the store, instead of letting two write", async () => {
    const messages: string[] = [];
    const ignore = () => {};
    const logger = { debug: ignore, info: ignore, warn: ignore, error: (_data: object, message = "") => void messages.push(message) };
    const store = await openStore({ database, logger });
    await rm(join(database.dataDir, "lock"), { recursive: true });
    await expect.poll(() => messages, { timeout: 10_000 }).toEqual([expect.stringContaining("was lost")]);
    await expect(sql`select 1`.execute(store.db)).rejects.toMatchObject({ code: "store_locked" });
    await store.close();
    const again = await openStore({ database });
    await again.close();
  });

  it("is given back by a process that leaves without closing, which does not hang", async () => {
    const leaver = runTs(child, [JSON.stringify(database), "exit"]);
    await leaver.waitFor("open");
    expect(await leaver.ended).toBe(0);
    expect(existsSync(join(database.dataDir, "lock"))).toBe(false);
    const store = await openStore({ database });
    await store.close();
  });

  it("lets go when opening is aborted", async () => {
    const controller = new AbortController();
    const opening = openStore({ database, signal: controller.signal });
    controller.abort();
    await expect(opening).rejects.toMatchObject({ code: "aborted" });
    const store = await openStore({ database });
    await store.close();
  });
});
