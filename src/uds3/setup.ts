import { type Kysely, type RawBuilder, sql } from "kysely";
import type { ChromaConnection, Neo4jConnection } from "./clients.js";
import { tableOf } from "./keyword-leg.js";
import { databaseFailure } from "./leg.js";
import { cypherName, type ResolvedMapping } from "./mapping.js";

/** Characters of a text that are indexed; a `tsvector` may have one megabyte. */
const INDEXED_LENGTH = 250_000;

const columnTypes = {
  content: "text",
  title: "text",
  documentType: "text",
  domain: "text",
  source: "text",
  language: "text",
  date: "text",
  quality: "double precision",
  metadata: "jsonb",
  contentLength: "bigint",
} as const;

/** Makes what the mapping names and is not there yet; what is there stays as it is. */
export async function setUp(
  parts: { db: Kysely<unknown>; chroma: ChromaConnection; neo4j: Neo4jConnection },
  mapping: ResolvedMapping,
): Promise<void> {
  const steps = {
    postgres: () => setUpPostgres(parts.db, mapping.postgres),
    chroma: () =>
      parts.chroma.getOrCreateCollection({
        name: mapping.chroma.collection,
        embeddingFunction: null,
        configuration: { hnsw: { space: "cosine" } },
      }),
    neo4j: () => setUpNeo4j(parts.neo4j, mapping.neo4j),
  };
  for (const [database, step] of Object.entries(steps)) {
    try {
      await step();
    } catch (error) {
      throw databaseFailure(error, `Setting up ${database} failed`, { database });
    }
  }
}

/** One at a time: two processes that make the same table at the same moment would both fail. */
export async function setUpPostgres(database: Kysely<unknown>, mapping: ResolvedMapping["postgres"]): Promise<void> {
  await database.transaction().execute(async (db) => {
    await sql`select pg_advisory_xact_lock(hashtextextended('clara:uds3:setup', 0))`.execute(db);
    await makeTable(db, mapping);
  });
}

async function makeTable(db: Kysely<unknown>, mapping: ResolvedMapping["postgres"]): Promise<void> {
  const { columns, textSearch, fixedValues } = mapping;
  const table = tableOf(mapping);
  await sql`create table if not exists ${table} (${sql.id(columns.id)} text primary key)`.execute(db);
  const additions: RawBuilder<unknown>[] = [];
  const add = (name: string, type: RawBuilder<unknown>): void => {
    additions.push(sql`add column if not exists ${sql.id(name)} ${type}`);
  };
  for (const [field, type] of Object.entries(columnTypes)) {
    const name = columns[field as keyof typeof columnTypes];
    if (name !== null) add(name, sql.raw(type));
  }
  for (const [name, value] of Object.entries(fixedValues)) {
    add(name, sql.raw({ string: "text", number: "double precision", boolean: "boolean" }[typeof value as "string" | "number" | "boolean"]));
  }
  await sql`alter table ${table} ${sql.join(additions)}`.execute(db);
  const title = columns.title === null ? sql`''` : sql`coalesce(${sql.id(columns.title)}, '')`;
  for (const [configuration, name] of Object.entries(textSearch)) {
    const language = sql`${sql.lit(configuration)}::regconfig`;
    await sql`alter table ${table} add column if not exists ${sql.id(name)} tsvector generated always as (
      setweight(to_tsvector(${language}, ${title}), 'A') ||
      setweight(to_tsvector(${language}, left(coalesce(${sql.id(columns.content)}, ''), ${sql.lit(INDEXED_LENGTH)})), 'D')
    ) stored`.execute(db);
    const index = `${mapping.table.slice(0, 30)}_${name.slice(0, 30)}`;
    await sql`create index if not exists ${sql.id(index)} on ${table} using gin (${sql.id(name)})`.execute(db);
  }
}

async function setUpNeo4j(neo4j: Neo4jConnection, mapping: ResolvedMapping["neo4j"]): Promise<void> {
  const { documentLabel, entityLabel, fullTextIndex, analyzer, properties } = mapping;
  const session = neo4j.session({ database: mapping.database });
  const [id, name, title] = [properties.id, properties.name, properties.title].map(cypherName);
  try {
    await session.run(`CREATE INDEX IF NOT EXISTS FOR (n:${cypherName(documentLabel)}) ON (n.${id})`);
    await session.run(`CREATE INDEX IF NOT EXISTS FOR (n:${cypherName(entityLabel)}) ON (n.${name})`);
    await session.run(
      `CREATE FULLTEXT INDEX ${cypherName(fullTextIndex)} IF NOT EXISTS
       FOR (n:${cypherName(entityLabel)}|${cypherName(documentLabel)}) ON EACH [n.${name}, n.${title}]
       OPTIONS {indexConfig: {\`fulltext.analyzer\`: $analyzer}}`,
      { analyzer },
    );
    await session.run("CALL db.awaitIndexes(300)");
  } finally {
    await session.close();
  }
}
