import { createHash } from "node:crypto";
import type { ReadyDocument } from "../../datasets/document-input.js";
import type { DocumentInput } from "../../types/index.js";

/** What the three databases get of one document; kept in the outbox until all of them have it. */
export interface DocumentRecord {
  id: string;
  /** Of id, text and all else that is said of it: chunks of an earlier text are told by it. */
  version: string;
  content: string;
  title: string | null;
  documentType: string;
  domain: string;
  source: string;
  language: string;
  /** ISO 8601. */
  date: string;
  /** Mean of the chunks'. */
  quality: number;
  metadata: Record<string, unknown>;
  chunks: string[];
  /** Names of what the document mentions. */
  entities: string[];
}

/** Names what a document mentions, for the graph. */
export type EntityExtractor = (document: DocumentInput & { id: string }) => Promise<readonly string[]> | readonly string[];

/** Entities at most; more of them would say nothing about a document. */
const MOST_ENTITIES = 200;
const LONGEST_NAME = 256;

/** The strings in `metadata.entities`. */
export const entitiesFromMetadata: EntityExtractor = ({ metadata }) => {
  const { entities } = metadata ?? {};
  return Array.isArray(entities) ? entities.filter((entity) => typeof entity === "string") : [];
};

/** UDS3's tables want a type and a date of every document: `unclassified`, and the moment at which it was added. */
export async function toRecord(input: DocumentInput, ready: ReadyDocument, extract: EntityExtractor): Promise<DocumentRecord> {
  const names = (await extract({ ...input, id: ready.id })).map((name) => name.trim().slice(0, LONGEST_NAME)).filter((name) => name !== "");
  return {
    id: ready.id,
    version: createHash("sha256")
      .update(JSON.stringify([ready.id, ready.contentHash, ready.attributesHash]))
      .digest("hex"),
    content: input.content,
    title: input.title ?? null,
    documentType: ready.documentType ?? "unclassified",
    domain: ready.domain,
    source: ready.source,
    language: ready.language,
    date: (ready.date ?? new Date()).toISOString(),
    quality: ready.chunks.reduce((sum, chunk) => sum + chunk.quality, 0) / Math.max(1, ready.chunks.length),
    metadata: ready.metadata,
    chunks: ready.chunks.map((chunk) => chunk.content),
    entities: [...new Set(names)].slice(0, MOST_ENTITIES),
  };
}
