import { BACKGROUND_QUESTIONS } from "./background-questions.js";
import { type Question, readQuestion } from "./question.js";
import { centred, normalised, sumOf } from "./unit-vectors.js";

/** The general questions as the embedder sees them: what every text shares, and examples of "no adapter's business". */
export interface Background {
  /** Mean of the vectors; subtracted from every other vector. */
  mean: Float32Array;
  /** The questions' own vectors, centred. */
  vectors: Float32Array[];
  questions: Question[];
}

/** Turns texts into vectors, one each. */
export type EmbedTexts = (texts: readonly string[]) => Promise<number[][]>;

/** Embeds the built-in general questions. */
export async function prepareBackground(embed: EmbedTexts): Promise<Background> {
  const vectors = (await embed(BACKGROUND_QUESTIONS)).map(normalised);
  const mean = Float32Array.from(sumOf(vectors, vectors[0]!.length), (value) => value / vectors.length);
  return { mean, vectors: vectors.map((vector) => centred(vector, mean)), questions: BACKGROUND_QUESTIONS.map(readQuestion) };
}
