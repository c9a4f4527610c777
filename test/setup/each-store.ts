import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe } from "vitest";
import { openStore, type Store, type StoreOptions } from "../../src/store/index.js";
import { createDatabase, postgresUrl, stockPostgresUrl } from "./postgres.js";
import { hasStockPostgres } from "./postgres-server.js";

/** One kind of database under a suite. */
export interface StoreHarness {
  readonly kind: Store["kind"];
  /** What to pass as `database`: made empty at the first call, and the same until `reset()`. */
  database(): Promise<string | { dataDir: string }>;
  /** Opens the present database. Embedded: close the store that has it before opening it again. Closed after the suite if still open. */
  open(options?: Omit<StoreOptions, "database">): Promise<Store>;
  /** Closes and deletes the present database: the next `open()` gets an empty one. */
  reset(): Promise<void>;
}

/**
 * Runs a suite on PGlite and on PostgreSQL 16 with pgvector. `CLARA_TEST_STORES=embedded` (or `postgres`) runs it on one only.
 * @example
 * ```ts
 * describeEachStore("feedback", (harness) => {
 *   let store: Store;
 *   beforeAll(async () => { store = await harness.open(); });
 *   it("is kept once it is acknowledged", async () => { … });
 * });
 * ```
 */
export function describeEachStore(name: string, suite: (harness: StoreHarness) => void): void {
  const only = process.env.CLARA_TEST_STORES;
  for (const kind of ["embedded", "postgres"] as const) {
    if (only && only !== kind) continue;
    describe(`${name} (${kind === "embedded" ? "PGlite" : "PostgreSQL"})`, () => {
      const harness = createHarness(kind);
      // Registered first, so it runs after the suite's own hooks.
      afterAll(() => harness.reset());
      suite(harness);
    });
  }
}

/** Runs a suite on PGlite, on PostgreSQL 16 with pgvector and without pg_trgm, and on the machine's stock PostgreSQL without pgvector (left out where there is none). */
export function describeEachDatabase(name: string, suite: (harness: StoreHarness) => void): void {
  describeEachStore(name, suite);
  if (process.env.CLARA_TEST_STORES) return;
  describe.skipIf(!hasStockPostgres())(`${name} (stock PostgreSQL)`, () => {
    const harness = createHarness("postgres", stockPostgresUrl);
    afterAll(() => harness.reset());
    suite(harness);
  });
}

/** One database of the kind, outside of {@link describeEachStore}; call `reset()` at the end. */
export function createHarness(kind: Store["kind"], serverUrl: () => Promise<string | null> = postgresUrl): StoreHarness {
  let present: Promise<{ database: string | { dataDir: string }; remove(): Promise<void> }> | null = null;
  const stores = new Set<Store>();
  const create = async () => {
    if (kind === "postgres") {
      const { url, drop } = await createDatabase(await serverUrl());
      return { database: url, remove: drop };
    }
    const folder = await mkdtemp(join(tmpdir(), "clara-store-"));
    return { database: { dataDir: join(folder, "state") }, remove: () => rm(folder, { recursive: true, force: true }) };
  };
  const harness: StoreHarness = {
    kind,
    database: async () => {
      present ??= create();
      return (await present).database;
    },
    open: async (options = {}) => {
      const store = await openStore({ ...options, database: await harness.database() });
      stores.add(store);
      return store;
    },
    reset: async () => {
      for (const store of stores) await store.close();
      stores.clear();
      const old = await present;
      present = null;
      await old?.remove();
    },
  };
  return harness;
}
