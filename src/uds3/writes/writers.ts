import type { Kysely } from "kysely";
import type { CallOptions, Embedder } from "../../types/index.js";
import type { ChromaConnection, Neo4jConnection } from "../clients.js";
import type { ResolvedMapping } from "../mapping.js";
import { removeFromChroma, writeToChroma } from "./chroma-writer.js";
import type { DocumentRecord } from "./document-record.js";
import { removeFromNeo4j, writeToNeo4j } from "./neo4j-writer.js";
import type { DatabaseName } from "./outbox.js";
import { removeFromPostgres, writeToPostgres } from "./postgres-writer.js";

/** How one database takes documents in and lets them go; both may be repeated. */
export interface DatabaseWriter {
  write(documents: readonly DocumentRecord[], options: CallOptions): Promise<void>;
  remove(ids: readonly string[]): Promise<void>;
}

/** One writer a database, over clients that are opened when they are needed. */
export function writersOf(
  clients: { db: Kysely<unknown>; chroma: () => Promise<ChromaConnection>; neo4j: () => Promise<Neo4jConnection>; embedder: Embedder },
  mapping: ResolvedMapping,
): Record<DatabaseName, DatabaseWriter> {
  const { db, chroma, neo4j, embedder } = clients;
  return {
    postgres: {
      write: (documents) => writeToPostgres(db, mapping.postgres, documents),
      remove: (ids) => removeFromPostgres(db, mapping.postgres, ids),
    },
    chroma: {
      write: async (documents, options) => writeToChroma({ chroma: await chroma(), embedder, mapping: mapping.chroma }, documents, options),
      remove: async (ids) => removeFromChroma(await chroma(), mapping.chroma, ids),
    },
    neo4j: {
      write: async (documents) => writeToNeo4j(await neo4j(), mapping.neo4j, documents),
      remove: async (ids) => removeFromNeo4j(await neo4j(), mapping.neo4j, ids),
    },
  };
}
