/** Vectors made once and read by many contenders, so that none of them waits for the model. */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { Embedder } from "../../src/types/index.js";

const BATCH = 512;

export async function saveVectors(embedder: Embedder, texts: readonly string[], file: string): Promise<void> {
  const vectors: number[][] = [];
  for (let from = 0; from < texts.length; from += BATCH) vectors.push(...(await embedder.embed(texts.slice(from, from + BATCH))));
  await writeFile(`${file}.json`, JSON.stringify({ name: embedder.name, dimensions: embedder.dimensions, texts }));
  await writeFile(file, new Uint8Array(new Float32Array(vectors.flat()).buffer));
}

/** Knows only the texts that were saved. */
export function readVectors(file: string): Embedder {
  const { name, dimensions, texts } = JSON.parse(readFileSync(`${file}.json`, "utf8"));
  const bytes = readFileSync(file);
  const numbers = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const rowOf = new Map((texts as string[]).map((text, row) => [text, row]));
  const vectorOf = (text: string): number[] => {
    const row = rowOf.get(text);
    if (row === undefined) throw new Error(`no vector was saved for ${JSON.stringify(text)}`);
    return [...numbers.subarray(row * dimensions, (row + 1) * dimensions)];
  };
  return { name, dimensions, embed: async (wanted) => wanted.map(vectorOf) };
}
