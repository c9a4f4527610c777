import { embedUnit } from "../datasets/embeddings.js";
import { StorageError } from "../errors.js";
import type { Embedder } from "../types/index.js";
import type { ChromaAnswer, ChromaCollection, ChromaConnection } from "./clients.js";
import { withCollection } from "./collections.js";
import type { LegHit } from "./leg.js";
import type { ResolvedMapping } from "./mapping.js";
import { filteredField, type Uds3Filters, type Uds3Query } from "./search-query.js";

type ChromaMapping = ResolvedMapping["chroma"];

/** Chunks asked for at most, however many of them belong to the same documents. */
const MOST_CHUNKS = 16_000;

/** The documents with the nearest chunks; a chunk stands for its document, the best one counts. */
export async function vectorLeg(
  parts: { chroma: ChromaConnection; embedder: Embedder; mapping: ChromaMapping },
  query: Uds3Query,
  signal?: AbortSignal,
): Promise<LegHit[]> {
  const where = chromaFilter(query.filters, parts.mapping);
  const [vector] = await embedUnit(parts.embedder, [query.queryText], { signal });
  // A text without direction has no neighbours.
  if (!vector) return [];
  return withCollection(parts.chroma, parts.mapping, async (collection) => {
    const score = scoreOf(collection);
    for (let nResults = query.perLeg; ; nResults *= 4) {
      const answer = await collection.query({
        queryEmbeddings: [vector],
        nResults,
        ...(where ? { where } : {}),
        include: ["documents", "metadatas", "distances"],
      });
      const hits = bestOfEachDocument(answer, score, parts.mapping);
      const isAll = (answer.ids[0]?.length ?? 0) < nResults || nResults >= MOST_CHUNKS;
      if (hits.length >= query.topK || isAll) return hits.slice(0, query.perLeg);
      signal?.throwIfAborted();
    }
  });
}

/** Cosine from the collection's distance, negative ones as 0; `l2` is a squared distance of vectors of unit length. */
function scoreOf({ configuration }: ChromaCollection): (distance: number) => number {
  const space = configuration.hnsw?.space ?? configuration.spann?.space ?? "l2";
  const cosine = (distance: number): number => (space === "l2" ? 1 - distance / 2 : 1 - distance);
  return (distance) => Math.min(1, Math.max(0, cosine(distance)));
}

function bestOfEachDocument(answer: ChromaAnswer, score: (distance: number) => number, { fields }: ChromaMapping): LegHit[] {
  const best = new Map<string, LegHit>();
  const [ids = [], distances = [], documents = [], metadatas = []] = [
    answer.ids[0],
    answer.distances[0],
    answer.documents[0],
    answer.metadatas[0],
  ];
  for (const [index, id] of ids.entries()) {
    const distance = distances[index];
    if (typeof distance !== "number") throw new StorageError("store_unavailable", "Chroma gave a result without a distance");
    const metadata = metadatas[index] ?? {};
    const text = (name: string | null): string | null => (name === null || metadata[name] == null ? null : String(metadata[name]));
    const number = (name: string | null): number | null => (name !== null && typeof metadata[name] === "number" ? metadata[name] : null);
    const documentId = text(fields.documentId) ?? id;
    // Nearest first, so a document's first chunk is its best.
    if (best.has(documentId)) continue;
    const dateMs = number(fields.dateMs);
    best.set(documentId, {
      documentId,
      score: score(distance),
      content: documents[index] ?? null,
      fields: {
        title: text(fields.title),
        documentType: text(fields.documentType),
        domain: text(fields.domain),
        source: text(fields.source),
        date: dateMs === null ? null : new Date(dateMs).toISOString(),
        quality: number(fields.quality),
      },
    });
  }
  return [...best.values()];
}

/** Values are operands of fixed operators, never keys: no text of a caller can become an operator. */
export function chromaFilter(filters: Uds3Filters, { fields }: ChromaMapping): Record<string, unknown> | undefined {
  const conditions: Record<string, unknown>[] = [];
  const add = (name: string | null, filter: string, operator: string, operand: string | number): void => {
    conditions.push({ [filteredField(name, filter, "Chroma")]: { [operator]: operand } });
  };
  if (filters.documentType !== undefined) add(fields.documentType, "documentType", "$eq", filters.documentType);
  if (filters.domain !== undefined) add(fields.domain, "domain", "$eq", filters.domain);
  if (filters.minQuality !== undefined) add(fields.quality, "minQuality", "$gte", filters.minQuality);
  if (filters.from !== undefined) add(fields.dateMs, "from", "$gte", filters.from.getTime());
  if (filters.to !== undefined) add(fields.dateMs, "to", filters.isToExclusive ? "$lt" : "$lte", filters.to.getTime());
  return conditions.length > 1 ? { $and: conditions } : conditions[0];
}
