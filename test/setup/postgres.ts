import { randomUUID } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import { type ServerKind, startServer } from "./postgres-server.js";

/** A database of its own on the run's PostgreSQL. */
export interface TestDatabase {
  url: string;
  /** Cuts off whoever is still connected, and deletes it. */
  drop(): Promise<void>;
}

/** URL of the superuser's database on the run's server (PostgreSQL 16 with pgvector); starts the server at the first call. */
export async function postgresUrl(): Promise<string> {
  const url = await startServer(inject("runFolder"), inject("runProcess"), "pgvector");
  if (url === null) throw new Error("the tests' PostgreSQL did not start");
  return url;
}

/** URL of a stock PostgreSQL without pgvector, or null where none is installed on this machine (skip the test then). */
export function stockPostgresUrl(): Promise<string | null> {
  return startServer(inject("runFolder"), inject("runProcess"), "stock");
}

/** An empty database; the caller drops it. */
export async function createDatabase(serverUrl?: string | null): Promise<TestDatabase> {
  const server = serverUrl ?? (await postgresUrl());
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await runOn(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => dropDatabase(server, name) };
}

/** Clients that are just leaving are let go; the others are cut off. */
async function dropDatabase(server: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    for (let attempt = 0; attempt < 50; attempt += 1) {
      const { rows } = await client.query("select count(*)::int as count, pg_sleep(0.02) from pg_stat_activity where datname = $1", [name]);
      if (rows[0].count === 0) break;
    }
    await client.query(`drop database if exists ${name} with (force)`);
  } finally {
    await client.end();
  }
}

/** Runs one statement as the superuser. */
export async function runOn(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

export type { ServerKind };
