/** Counts tokens as the base model does. */
export interface Tokenizer {
  readonly name: string;
  count(texts: readonly string[]): Promise<number[]> | number[];
}

/** Characters per token of a typical sub-word vocabulary on German and English, on the safe side. */
const CHARACTERS_PER_TOKEN = 3;

/**
 * Estimates tokens where no tokenizer is given: a third of the characters, at least one per word. Counts made so are marked by `tokensAreEstimated`.
 * @example
 * ```ts
 * estimateTokens("Im ersten Stock."); // 6
 * ```
 */
export function estimateTokens(text: string): number {
  const words = text.match(/\S+/gu)?.length ?? 0;
  return Math.max(words, Math.ceil(text.length / CHARACTERS_PER_TOKEN));
}
