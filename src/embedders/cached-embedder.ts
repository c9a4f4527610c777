import { ConfigurationError } from "../errors.js";
import type { CallOptions, Embedder } from "../types/common.js";

/** Options of `cached`. */
export interface CachedEmbedderOptions {
  /** Texts kept; the least recently used goes first. Default 10,000. */
  maxEntries?: number;
  /** Longer texts are embedded but not kept, so that memory stays bounded. Default 4,096 characters. */
  maxTextLength?: number;
}

/**
 * Remembers the vectors of recent texts, least recently used out first; only unknown texts reach the embedder, each once a call.
 * @example
 * ```ts
 * const embedder = cached(new OpenAiCompatibleEmbedder({ endpoint: "http://gpu:8000", model: "bge-m3" }), { maxEntries: 50_000 });
 * ```
 */
export function cached(embedder: Embedder, options: CachedEmbedderOptions = {}): Embedder {
  const maxEntries = options.maxEntries ?? 10_000;
  const maxTextLength = options.maxTextLength ?? 4096;
  if (!Number.isInteger(maxEntries) || maxEntries < 1) {
    throw new ConfigurationError("config_invalid", `maxEntries must be a whole number from 1, not ${maxEntries}.`);
  }
  const entries = new Map<string, number[]>();

  const keep = (text: string, vector: number[]): void => {
    if (text.length > maxTextLength) return;
    entries.delete(text);
    entries.set(text, vector);
    if (entries.size > maxEntries) entries.delete(entries.keys().next().value!);
  };

  return {
    name: embedder.name,
    get dimensions() {
      return embedder.dimensions;
    },
    async embed(texts: readonly string[], callOptions: CallOptions = {}): Promise<number[][]> {
      const known = new Map<string, number[]>();
      const missing: string[] = [];
      for (const text of new Set(texts)) {
        const vector = entries.get(text);
        if (vector === undefined) missing.push(text);
        else known.set(text, vector);
      }
      if (missing.length > 0) {
        const vectors = await embedder.embed(missing, callOptions);
        for (const [index, text] of missing.entries()) known.set(text, vectors[index]!);
      }
      for (const [text, vector] of known) keep(text, vector);
      return texts.map((text) => [...known.get(text)!]);
    },
  };
}
