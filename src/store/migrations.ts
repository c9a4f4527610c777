import { type Kysely, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import { ClaraError, StorageError } from "../errors.js";
import { databaseErrorText, isConnectionError } from "./database-error.js";
import type { Database } from "./schema.js";
import { adapterMigrations } from "./tables/adapter.js";
import { canaryMigrations } from "./tables/canary.js";
import { corpusMigrations } from "./tables/corpus.js";
import { cycleMigrations } from "./tables/cycle.js";
import { datasetMigrations } from "./tables/dataset.js";
import { feedbackMigrations } from "./tables/feedback.js";
import { generationMigrations } from "./tables/generation.js";
import { trainingMigrations } from "./tables/training.js";
import { uds3Migrations } from "./tables/uds3.js";

/** The schema in which all of CLARA's tables live. */
export const SCHEMA = "clara";

/** Every room's migrations, keyed by their global names. */
export const allMigrations: Readonly<Record<string, Migration>> = {
  ...feedbackMigrations,
  ...datasetMigrations,
  ...trainingMigrations,
  ...adapterMigrations,
  ...cycleMigrations,
  ...corpusMigrations,
  ...generationMigrations,
  ...canaryMigrations,
  ...uds3Migrations,
};

/** Extensions that are used where the database allows them; each missing one is a capability gap, never a failure. */
const optionalExtensions = ["vector", "pg_trgm"] as const;

/** Brings the database to this package's schema; every process that opens it at the same time waits for the first. */
export async function migrate(db: Kysely<Database>, migrations: Readonly<Record<string, Migration>> = allMigrations): Promise<Set<string>> {
  // One connection for the lock and the work: a pool of one must not wait for itself.
  return db.connection().execute(async (connection) => {
    await sql`select pg_advisory_lock(hashtextextended('clara:migrations', 0))`.execute(connection);
    try {
      const extensions = await createExtensions(connection);
      await runMigrations(connection, migrations);
      return extensions;
    } finally {
      await sql`select pg_advisory_unlock(hashtextextended('clara:migrations', 0))`.execute(connection);
    }
  });
}

async function createExtensions(db: Kysely<Database>): Promise<Set<string>> {
  const present = async () =>
    new Set((await sql<{ extname: string }>`select extname from pg_extension`.execute(db)).rows.map((row) => row.extname));
  const existing = await present();
  for (const extension of optionalExtensions) {
    if (existing.has(extension)) continue;
    try {
      await sql`create extension if not exists ${sql.ref(extension)}`.execute(db);
    } catch (error) {
      // Absent from the server, or not allowed to this role: both are told by `capabilities`.
      if (isConnectionError(ClaraError.isInstance(error) ? error.cause : error)) throw error;
    }
  }
  return present();
}

async function runMigrations(db: Kysely<Database>, migrations: Readonly<Record<string, Migration>>): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => ({ ...migrations }) },
    migrationTableSchema: SCHEMA,
    migrationTableName: "migrations",
    migrationLockTableName: "migrations_lock",
    // Rooms number their migrations independently of each other.
    allowUnorderedMigrations: true,
    nameComparator: (left, right) => (left < right ? -1 : left > right ? 1 : 0),
  });
  await refuseNewerSchema(db, migrations);
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  if (ClaraError.isInstance(error)) throw error;
  const failed = results?.find((result) => result.status === "Error")?.migrationName;
  throw new StorageError(
    "migration_failed",
    `Migration ${failed ? `'${failed}'` : "of the schema"} failed: ${databaseErrorText(error)}. The database is as it was before it; fix the cause and open again.`,
    { cause: error, details: failed ? { migration: failed } : {} },
  );
}

async function refuseNewerSchema(db: Kysely<Database>, migrations: Readonly<Record<string, Migration>>): Promise<void> {
  const table = await sql<{ found: string | null }>`select to_regclass('clara.migrations')::text as found`.execute(db);
  if (table.rows[0]?.found == null) return;
  const done = await sql<{ name: string }>`select name from clara.migrations order by name`.execute(db);
  const unknown = done.rows.map((row) => row.name).filter((name) => !(name in migrations));
  if (unknown.length === 0) return;
  throw new StorageError(
    "migration_failed",
    `This database was written by a newer clara-sdk: it has the migrations ${unknown.map((name) => `'${name}'`).join(", ")}, which this version does not know. Install the newer clara-sdk, or open another database.`,
    { details: { unknownMigrations: unknown } },
  );
}
