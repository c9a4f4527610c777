import { z } from "zod";
import { ConfigurationError } from "../errors.js";

/** Names of tables, columns, labels, relations and properties: nothing else ever stands in a statement's text. */
const Identifier = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, "use letters, digits and '_' only, at most 63, no digit first");
/** Null: this database does not hold it, and a filter on it is an error. */
const Optional = Identifier.nullable();

const PostgresMapping = z.strictObject({
  schema: Identifier.default("public"),
  table: Identifier.default("documents"),
  columns: z
    .strictObject({
      id: Identifier.default("document_id"),
      content: Identifier.default("content"),
      title: Optional.default("title"),
      documentType: Optional.default("classification"),
      domain: Optional.default("domain"),
      source: Optional.default("file_path"),
      language: Optional.default("language"),
      /** Text (ISO 8601) or a timestamp. */
      date: Optional.default("created_at"),
      /** 0..1. */
      quality: Optional.default("quality_score"),
      /** `jsonb`. */
      metadata: Optional.default("metadata"),
      /** Characters of the content. */
      contentLength: Optional.default("content_length"),
    })
    .prefault({}),
  /** What new rows get in further columns, for example in those of UDS3's own table that may not be null. */
  fixedValues: z.record(Identifier, z.union([z.string(), z.number(), z.boolean()])).default({ legal_terms_count: 0 }),
  /** Text search configurations, each with its `tsvector` column. */
  textSearch: z.record(Identifier, Identifier).default({ german: "search_german", english: "search_english" }),
});

const ChromaMapping = z.strictObject({
  collection: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{1,510}[A-Za-z0-9]$/, "use 3 to 512 letters, digits, '.', '_' and '-'")
    .default("uds3_documents"),
  fields: z
    .strictObject({
      /** Which document a chunk belongs to; a chunk without it is a document of its own. */
      documentId: Identifier.default("document_id"),
      title: Optional.default("title"),
      documentType: Optional.default("classification"),
      domain: Optional.default("domain"),
      source: Optional.default("file_path"),
      /** Milliseconds since 1970: Chroma compares numbers only. */
      dateMs: Optional.default("created_at_ms"),
      quality: Optional.default("quality_score"),
    })
    .prefault({}),
});

const Neo4jMapping = z.strictObject({
  /** Default: the server's own default database. */
  database: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9.-]{2,62}$/)
    .optional(),
  documentLabel: Identifier.default("Document"),
  entityLabel: Identifier.default("Entity"),
  /** Full-text index over the names of entities and the names and titles of documents. */
  fullTextIndex: Identifier.default("clara_names"),
  /** Analyzer that `setup()` gives the index. */
  analyzer: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,62}$/)
    .default("german"),
  /** From a document to an entity; `addDocuments` writes it. */
  mentions: Identifier.default("MENTIONS"),
  /** Further relations that a search follows, in either direction. */
  relations: z.array(Identifier).default(["RELATED_TO"]),
  /** Relations between a found entity and a document, at most. */
  maxHops: z.number().int().min(0).max(4).default(2),
  properties: z
    .strictObject({
      id: Identifier.default("document_id"),
      /** Of entities, and of documents that have one. */
      name: Identifier.default("name"),
      title: Identifier.default("title"),
      content: Optional.default("content"),
      documentType: Optional.default("classification"),
      domain: Optional.default("domain"),
      source: Optional.default("file_path"),
      /** Text (ISO 8601) or a temporal value. */
      date: Optional.default("created_at"),
      quality: Optional.default("quality_score"),
    })
    .prefault({}),
});

/** Where documents and their fields are in the three databases. */
export const Uds3Mapping = z.strictObject({
  postgres: PostgresMapping.prefault({}),
  chroma: ChromaMapping.prefault({}),
  neo4j: Neo4jMapping.prefault({}),
});
/** Every field is optional; the defaults are UDS3's own names, and ours for what UDS3 does not hold. */
export type Uds3Mapping = z.input<typeof Uds3Mapping>;
export type ResolvedMapping = z.output<typeof Uds3Mapping>;

/** The mapping with its defaults. @throws ConfigurationError `config_invalid` with the field that is no plain name */
export function resolveMapping(mapping: Uds3Mapping = {}): ResolvedMapping {
  const parsed = Uds3Mapping.safeParse(mapping);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = ["mapping", ...(issue?.path ?? [])].join(".");
    throw new ConfigurationError("config_invalid", `${field} is invalid: ${issue?.message}.`, { details: { field } });
  }
  const { columns, fixedValues, textSearch } = parsed.data.postgres;
  const names = [...Object.values(columns), ...Object.keys(fixedValues), ...Object.values(textSearch)].filter((name) => name !== null);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new ConfigurationError("config_invalid", `mapping.postgres names the column ${twice} twice; each field needs its own.`, {
      details: { field: "mapping.postgres.columns", column: twice },
    });
  }
  if (Object.keys(textSearch).length === 0) {
    throw new ConfigurationError("config_invalid", 'mapping.postgres.textSearch is empty: name a configuration, for example "german".', {
      details: { field: "mapping.postgres.textSearch" },
    });
  }
  return parsed.data;
}

/** A name for Cypher; only names that the mapping has checked. */
export function cypherName(name: string): string {
  return `\`${name}\``;
}
