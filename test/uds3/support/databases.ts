import { randomUUID } from "node:crypto";
import { ChromaClient } from "chromadb";
import neo4jDriver, { type Driver } from "neo4j-driver";
import pg from "pg";
import { inject } from "vitest";
import { LexicalEmbedder } from "../../../src/embedders/lexical-embedder.js";
import { openStore, type Store } from "../../../src/store/index.js";
import { Uds3, type Uds3Mapping, type Uds3Options } from "../../../src/uds3/index.js";
import { chromaServer } from "../../setup/chroma-server.js";
import { createDatabase } from "../../setup/index.js";
import { neo4jServer } from "../../setup/neo4j-server.js";
import { startProcess } from "../../setup/server-process.js";

/** The three real servers: a database, a collection, labels and an index of their own, so that suites share the servers. */
export interface Databases {
  urls: { postgres: string; chroma: string; neo4j: string };
  postgres: pg.Pool;
  chroma: ChromaClient;
  neo4j: Driver;
  store: Store;
  embedder: LexicalEmbedder;
  mapping: Uds3Mapping & { chroma: { collection: string }; neo4j: { documentLabel: string; entityLabel: string; fullTextIndex: string } };
  /** A connector to them; closed with them. */
  connect(options?: Partial<Uds3Options>): Uds3;
  /** Rows of a Cypher statement. */
  cypher(statement: string, parameters?: Record<string, unknown>): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

export function chromaUrl(): Promise<string> {
  return startProcess(inject("runFolder"), inject("runProcess"), "chroma", chromaServer);
}

export function neo4jUrl(): Promise<string> {
  return startProcess(inject("runFolder"), inject("runProcess"), "neo4j", neo4jServer);
}

export async function openDatabases(): Promise<Databases> {
  const [database, chroma, neo4j] = await Promise.all([createDatabase(), chromaUrl(), neo4jUrl()]);
  const urls = { postgres: database.url, chroma, neo4j };
  const postgres = new pg.Pool({ connectionString: urls.postgres, max: 6 });
  // Many connectors share it here, each with a listener.
  postgres.setMaxListeners(100);
  const address = new URL(urls.chroma);
  const client = new ChromaClient({ host: address.hostname, port: Number(address.port), ssl: false });
  const driver = neo4jDriver.driver(urls.neo4j);
  const store = await openStore({ database: postgres });
  const embedder = new LexicalEmbedder({ dimensions: 256 });
  const own = randomUUID().slice(0, 8);
  const mapping = {
    chroma: { collection: `documents-${own}` },
    neo4j: { documentLabel: `Document_${own}`, entityLabel: `Entity_${own}`, fullTextIndex: `names_${own}` },
  };
  const opened: Uds3[] = [];
  return {
    urls,
    postgres,
    chroma: client,
    neo4j: driver,
    store,
    embedder,
    mapping,
    connect(options = {}) {
      // Conditions, not times: only the tests of deadlines have short ones.
      const uds3 = new Uds3({ postgres, chroma: client, neo4j: driver, store, embedder, mapping, legTimeoutMs: 30_000, ...options });
      opened.push(uds3);
      return uds3;
    },
    async cypher(statement, parameters) {
      const session = driver.session();
      try {
        return (await session.run(statement, parameters)).records.map((record) => record.toObject());
      } finally {
        await session.close();
      }
    },
    async close() {
      for (const uds3 of opened) await uds3.close();
      await driver.close();
      await store.close();
      await postgres.end();
      await database.drop();
    },
  };
}
