import { foldText } from "../embedders/index.js";
import { seededRandom } from "../support/seeded-random.js";
import type { Adapter } from "../types/adapter.js";
import type { Background, EmbedTexts } from "./background.js";
import { type Question, readQuestion } from "./question.js";
import { type Clusters, sphericalKMeans } from "./spherical-k-means.js";
import { centred, dot, normalised, sumOf } from "./unit-vectors.js";
import { type Vocabulary, vocabularyOf } from "./vocabulary.js";

/** What the router knows of one adapter's questions; made once, since adapters are immutable. */
export interface AdapterProfile {
  id: string;
  /** Every distinct example, taken apart. */
  questions: Question[];
  vocabulary: Vocabulary;
  /** Direction of all examples together. */
  mean: Float32Array;
  /** Length of the sum behind `mean`. */
  meanNorm: number;
  clusters: Clusters;
  /** Examples kept as they are: `exemplars[i]` is the vector of `questions[i]`, and `clusters.assignment[i]` its group. */
  exemplars: Float32Array[];
}

/** Examples embedded and clustered of one adapter; enough for a stable picture, and bounded for adapters with thousands. */
const MAX_EMBEDDED = 256;
/** Examples whose words are indexed. */
const MAX_INDEXED = 2_000;
/** Examples kept as exemplars: enough for the probes to see what an adapter's questions share. */
const MAX_EXEMPLARS = 96;
const MAX_CLUSTERS = 8;
const MAX_EXAMPLE_CHARACTERS = 2_000;

/** Embeds and clusters an adapter's examples; null where it has none, so that only a rule, a hint or a pin can choose it. */
export async function profileAdapter(
  adapter: Pick<Adapter, "id" | "examples">,
  background: Background,
  embed: EmbedTexts,
): Promise<AdapterProfile | null> {
  const examples = sampleOf(adapter.examples);
  if (examples.length === 0) return null;
  const embedded = await embed(examples.slice(0, MAX_EMBEDDED));
  const vectors = embedded.map((vector) => centred(normalised(vector), background.mean));
  const sum = sumOf(vectors, background.mean.length);
  const groups = Math.max(1, Math.min(MAX_CLUSTERS, Math.round(Math.sqrt(vectors.length / 2))));
  const questions = examples.map(readQuestion);
  return {
    id: adapter.id,
    questions,
    vocabulary: vocabularyOf(questions),
    mean: normalised(sum),
    meanNorm: Math.sqrt(dot(sum, sum)),
    clusters: sphericalKMeans(vectors, groups),
    exemplars: vectors.slice(0, MAX_EXEMPLARS),
  };
}

/** Distinct examples in an order that only their set decides, so that the first n are a fair sample of all. */
function sampleOf(examples: readonly string[]): string[] {
  const distinct = new Map<string, string>();
  for (const example of examples) {
    const text = example.slice(0, MAX_EXAMPLE_CHARACTERS).trim();
    if (text !== "") distinct.set(foldText(text), text);
  }
  const sorted = [...distinct].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, text]) => text);
  const random = seededRandom(sorted.length);
  for (let index = sorted.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [sorted[index], sorted[other]] = [sorted[other]!, sorted[index]!];
  }
  return sorted.slice(0, MAX_INDEXED);
}
