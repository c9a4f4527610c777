import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { openStore, type Store } from "../../src/store/index.js";
import { createHarness, describeEachStore, runTs, type StoreHarness } from "../setup/index.js";

const child = new URL("./children/open-store.ts", import.meta.url);

/** A promise and what settles it. */
function gate(): { promise: Promise<void>; resolve(): void } {
  let resolve = () => {};
  const promise = new Promise<void>((open) => {
    resolve = open;
  });
  return { promise, resolve };
}

describeEachStore("a named lock", (harness) => {
  let store: Store;
  beforeAll(async () => {
    store = await harness.open();
  });

  it("has one holder at a time, in the order of asking, and returns what the work returns", async () => {
    let inside = 0;
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        store.withLock("same", async () => {
          inside += 1;
          expect(inside).toBe(1);
          await store.pool.query("select 1");
          inside -= 1;
          return index;
        }),
      ),
    );
    expect(results).toEqual(Array.from({ length: 12 }, (_, index) => index));
  });

  it("does not keep other names waiting", async () => {
    const hold = gate();
    const first = store.withLock("one", () => hold.promise);
    expect(await store.withLock("two", async () => "free")).toBe("free");
    hold.resolve();
    await first;
  });

  it("leaves every pooled connection to the work", async () => {
    const max = store.pool.options.max ?? 10;
    const held = await Promise.all(
      Array.from({ length: max + 2 }, (_, index) =>
        store.withLock(`name ${index}`, async () => (await store.pool.query("select 1 as one")).rows[0].one),
      ),
    );
    expect(held).toEqual(Array.from({ length: max + 2 }, () => 1));
  });

  it("is free again after work that failed, and passes the failure on", async () => {
    await expect(store.withLock("failing", () => Promise.reject(new RangeError("no")))).rejects.toThrow(RangeError);
    expect(await store.withLock("failing", async () => "free")).toBe("free");
  });

  it("stops waiting when the call is aborted, and leaves no place in the queue", async () => {
    const hold = gate();
    const entered = gate();
    const first = store.withLock("aborted", async () => {
      entered.resolve();
      await hold.promise;
    });
    await entered.promise;
    const controller = new AbortController();
    let ran = false;
    const second = store.withLock(
      "aborted",
      async () => {
        ran = true;
      },
      { signal: controller.signal },
    );
    const third = store.withLock("aborted", async () => "third");
    controller.abort();
    await expect(second).rejects.toMatchObject({ code: "aborted" });
    hold.resolve();
    await first;
    expect(await third).toBe("third");
    expect(ran).toBe(false);
    await expect(store.withLock("aborted", async () => {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });

  it("tells the work when the store closes, and close waits for the work to end", async () => {
    const other = createHarness(harness.kind);
    const second = await other.open();
    const entered = gate();
    let ended = false;
    const work = second.withLock("closing", async (signal) => {
      entered.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      ended = true;
    });
    const settled = work.catch(() => {});
    await entered.promise;
    await second.close();
    expect(ended).toBe(true);
    await settled;
    await expect(second.withLock("closing", async () => {})).rejects.toMatchObject({ code: "store_closed" });
    await other.reset();
  });
});

describeEachStore("a named lock across processes", (harness: StoreHarness) => {
  if (harness.kind === "embedded") {
    it("needs no other process: the folder's lock keeps them out", async () => {
      const store = await harness.open();
      const other = runTs(child, [JSON.stringify(await harness.database()), "lock"]);
      expect(await other.nextLine()).toMatch(/^error store_locked/);
      expect(await other.ended).toBe(3);
      await store.close();
    });
    return;
  }

  let store: Store;
  beforeEach(async () => {
    store = await openStore({ database: (await harness.database()) as string });
    return () => store.close();
  });
  afterAll(() => harness.reset());

  it("keeps this process waiting until the other is done", async () => {
    const other = runTs(child, [JSON.stringify(await harness.database()), "lock", "shared"]);
    await other.waitFor("locked");
    let hasIt = false;
    const mine = store.withLock("shared", async () => {
      hasIt = true;
    });
    await store.withLock("something else", () => store.pool.query("select pg_sleep(0.3)"));
    expect(hasIt).toBe(false);
    other.child.stdin?.end();
    await mine;
    await other.waitFor("released");
    expect(await other.ended).toBe(0);
  });

  it("is free as soon as its holder is killed with -9", async () => {
    const other = runTs(child, [JSON.stringify(await harness.database()), "lock", "shared"]);
    await other.waitFor("locked");
    const mine = store.withLock("shared", async () => "mine");
    other.child.kill("SIGKILL");
    expect(await mine).toBe("mine");
  });

  it("aborts the work and rejects when the holder's connection breaks", async () => {
    const entered = gate();
    const work = store.withLock("breaking", async (signal) => {
      entered.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return "work that did not notice";
    });
    const settled = expect(work).rejects.toMatchObject({ code: "store_unavailable", isRetryable: true, details: { lock: "breaking" } });
    await entered.promise;
    await store.pool.query(
      "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and pid <> pg_backend_pid()",
    );
    await settled;
    expect(await store.withLock("breaking", async () => "free")).toBe("free");
  });
});
