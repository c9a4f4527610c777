import type { ChromaCollection, ChromaConnection } from "./clients.js";
import type { ResolvedMapping } from "./mapping.js";

/** Given to the client so that it looks for no embedding function of its own: vectors come from the embedder. */
const noEmbeddingFunction = {
  name: "clara-sdk",
  generate: async (): Promise<number[][]> => {
    throw new Error("CLARA embeds texts itself");
  },
};

/** Kept, for one request less a search, and because the client prints a warning each time it reads a collection that Python made. */
const known = new WeakMap<ChromaConnection, Map<string, ChromaCollection>>();

/**
 * Works with the collection, which must be there: one made on the fly would answer every question with nothing. `work` runs once more where the
 * collection was made anew since, so it must bear repetition.
 */
export async function withCollection<T>(
  chroma: ChromaConnection,
  { collection: name }: ResolvedMapping["chroma"],
  work: (collection: ChromaCollection) => Promise<T>,
): Promise<T> {
  const collections = known.get(chroma) ?? new Map<string, ChromaCollection>();
  known.set(chroma, collections);
  const kept = collections.get(name);
  if (kept) {
    try {
      return await work(kept);
    } catch (error) {
      if ((error as { name?: unknown }).name !== "ChromaNotFoundError") throw error;
      collections.delete(name);
    }
  }
  const fresh = await chroma.getCollection({ name, embeddingFunction: noEmbeddingFunction });
  collections.set(name, fresh);
  return work(fresh);
}
