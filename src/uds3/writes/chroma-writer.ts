import { embedUnit } from "../../datasets/embeddings.js";
import type { CallOptions, Embedder } from "../../types/index.js";
import type { ChromaCollection, ChromaConnection } from "../clients.js";
import { withCollection } from "../collections.js";
import type { ResolvedMapping } from "../mapping.js";
import type { DocumentRecord } from "./document-record.js";

/** Chunks per call of the embedder and of Chroma. */
const CHUNKS_PER_CALL = 128;
/** Field of a chunk that tells which text of its document it is of. */
const VERSION_FIELD = "clara_version";

/** Writes the chunks with their vectors, then takes away those of the documents' earlier texts. */
export async function writeToChroma(
  parts: { chroma: ChromaConnection; embedder: Embedder; mapping: ResolvedMapping["chroma"] },
  documents: readonly DocumentRecord[],
  { signal }: CallOptions = {},
): Promise<void> {
  const { mapping } = parts;
  await withCollection(parts.chroma, mapping, async (collection) => {
    await writeChunks(collection, parts, documents, signal);
    const { documentId } = mapping.fields;
    await collection.delete({
      where: {
        $and: [
          { [documentId]: { $in: documents.map(({ id }) => id) } },
          { [VERSION_FIELD]: { $nin: documents.map(({ version }) => version) } },
        ],
      },
    });
  });
}

export async function removeFromChroma(
  chroma: ChromaConnection,
  mapping: ResolvedMapping["chroma"],
  ids: readonly string[],
): Promise<void> {
  await withCollection(chroma, mapping, (collection) => collection.delete({ where: { [mapping.fields.documentId]: { $in: [...ids] } } }));
}

async function writeChunks(
  collection: ChromaCollection,
  { embedder, mapping }: { embedder: Embedder; mapping: ResolvedMapping["chroma"] },
  documents: readonly DocumentRecord[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const chunks = documents.flatMap((document) => document.chunks.map((content, position) => ({ document, content, position })));
  for (let start = 0; start < chunks.length; start += CHUNKS_PER_CALL) {
    const batch = chunks.slice(start, start + CHUNKS_PER_CALL);
    const texts = batch.map(({ document, content }) => (document.title ? `${document.title}\n${content}` : content));
    const vectors = await embedUnit(embedder, texts, { signal });
    // A text without direction has no neighbours, so there is nothing to keep.
    const kept = batch.flatMap((chunk, index) => (vectors[index] ? [{ ...chunk, vector: vectors[index] }] : []));
    if (kept.length === 0) continue;
    await collection.upsert({
      ids: kept.map(({ document, position }) => `${document.id}#${position}`),
      embeddings: kept.map(({ vector }) => vector),
      documents: kept.map(({ content }) => content),
      metadatas: kept.map(({ document, position }) => ({ ...metadataOf(document, mapping), clara_position: position })),
    });
  }
}

function metadataOf(document: DocumentRecord, { fields }: ResolvedMapping["chroma"]): Record<string, string | number> {
  const pairs: [name: string | null, value: string | number | null][] = [
    [fields.documentId, document.id],
    [fields.title, document.title],
    [fields.documentType, document.documentType],
    [fields.domain, document.domain],
    [fields.source, document.source],
    [fields.dateMs, Date.parse(document.date)],
    [fields.quality, document.quality],
    [VERSION_FIELD, document.version],
  ];
  return Object.fromEntries(pairs.filter((pair): pair is [string, string | number] => pair[0] !== null && pair[1] !== null));
}
