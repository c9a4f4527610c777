import type { AdapterProfile } from "./adapter-profile.js";
import type { Background } from "./background.js";
import { choiceProbabilities, type WeightPrior } from "./calibrated-choice.js";
import { type HeldOutExample, Lexicon } from "./lexicon.js";
import { type Question, readQuestion } from "./question.js";
import { TermOdds } from "./term-odds.js";
import { VectorBlock } from "./vector-block.js";

/**
 * What the head weighs, in order: 1; likeness to the nearest sub-centroid and to the nearest exemplar (0 = like a general question,
 * 1 = the same text); answer of the linear probe (about 0 = another adapter's question, 1 = its own); specificity of the content words;
 * amount of covered content (0..1); log odds of the words and word pairs.
 */
export const FEATURE_NAMES = ["bias", "centroid", "exemplar", "probe", "specificity", "evidence", "odds"] as const;

/**
 * Weights before any data, about the middle of fits on domains of several kinds; each fit starts from them. The probe's is the least
 * certain, since how large its answers are depends on the embedder and on the number of examples.
 */
export const WEIGHT_PRIOR: WeightPrior = { mean: [-5.3, 3.6, 3.1, 4, 4, 4.6, 0.4], precision: [1, 1, 1, 0.1, 1, 1, 1] };

/** An adapter that may answer a query, and why. */
export interface ScoredAdapter {
  /** Position among the table's adapters. */
  adapter: number;
  features: number[];
}

/** How an embedded query is put, and what to ignore for leave-one-out. */
export interface Wording {
  question: Question;
  heldOut?: HeldOutExample;
  /** The query's share in the probes' answer to it, which is taken out. */
  leverage?: number;
  /** An adapter that is taken as absent. */
  without?: number;
  /** Share of the query's content that was exchanged for words nobody knows. */
  exchanged?: number;
}

/** An embedded text; the object is a ranking's identity. */
export type QueryVector = ArrayLike<number> & object;

/** Best first. */
export interface RankedAdapter {
  adapterId: string;
  /** Calibrated probability that this adapter is right, 0..1. */
  probability: number;
}

/** An adapter's rows in the block: the probe, the sub-centroids, the exemplars. */
interface AdapterRows {
  from: number;
  clusters: number;
  to: number;
}

/** Adapters up to which all are compared, and in more detail. */
const FEW_ADAPTERS = 16;
const EXEMPLARS_OF_FEW = 48;
const EXEMPLARS_OF_MANY = 24;
/** Rows of the adapters that are compared where there are many. */
const ROW_BUDGET = 104;

/** All that one embedding decision needs, in memory and immutable; a change of adapters makes a new table. */
export class RoutingTable {
  readonly adapterIds: readonly string[];
  readonly profiles: readonly AdapterProfile[];
  readonly background: Background;
  /** Weights of the head; `calibrateTable` sets them. */
  weights: readonly number[] = WEIGHT_PRIOR.mean;
  /** Expected calibration error of the head, cross-validated; null before calibration. */
  calibrationError: number | null = null;
  readonly #lexicon: Lexicon;
  readonly #odds: TermOdds;
  readonly #block: VectorBlock;
  readonly #rows: AdapterRows[] = [];
  readonly #rowBudget: number;
  /** Scratch space of the preselection. */
  readonly #scores: Float32Array;
  /** Which adapters' rows the query at hand was multiplied with. */
  readonly #isCompared: Uint8Array;
  /** How like general questions are to the nearest sub-centroid and exemplar: the zero of those features. */
  #centroidZero = 0;
  #exemplarZero = 0;

  /** `probes`: a row for each profile, in their order. */
  constructor(profiles: readonly AdapterProfile[], probes: readonly Float32Array[], background: Background) {
    this.profiles = profiles;
    this.adapterIds = this.profiles.map(({ id }) => id);
    this.background = background;
    const isFew = this.profiles.length <= FEW_ADAPTERS;
    this.#rowBudget = isFew ? Number.POSITIVE_INFINITY : ROW_BUDGET;
    this.#lexicon = new Lexicon(this.profiles);
    this.#odds = new TermOdds(this.profiles, background.questions);
    const rows: Float32Array[] = this.profiles.map(({ mean }) => mean);
    for (const [index, { clusters, exemplars }] of this.profiles.entries()) {
      const from = rows.length;
      rows.push(probes[index]!, ...clusters.centroids, ...exemplars.slice(0, isFew ? EXEMPLARS_OF_FEW : EXEMPLARS_OF_MANY));
      this.#rows.push({ from, clusters: clusters.centroids.length, to: rows.length });
    }
    this.#scores = new Float32Array(this.profiles.length);
    this.#isCompared = new Uint8Array(this.profiles.length);
    this.#block = new VectorBlock(rows, background.mean.length);
    this.#findZeros();
  }

  /** Exemplars of an adapter that are compared. */
  exemplarCount(adapter: number): number {
    const { from, clusters, to } = this.#rows[adapter]!;
    return to - from - 1 - clusters;
  }

  /** Ranks the adapters for a query by the probability that they are right; those without a chance are left out. */
  rank(text: string, vector: QueryVector): RankedAdapter[] {
    const [scored] = this.score(vector, [{ question: readQuestion(text) }], this.background.mean) as [ScoredAdapter[]];
    const probabilities = choiceProbabilities(
      scored.map(({ features }) => features),
      this.weights,
    );
    evidenceByQuery.set(vector, { adapterIds: this.adapterIds, scored });
    return scored
      .map(({ adapter }, index) => ({ adapterId: this.adapterIds[adapter]!, probability: probabilities[index]! }))
      .sort((left, right) => right.probability - left.probability || (left.adapterId < right.adapterId ? -1 : 1));
  }

  /**
   * Features of the adapters that come into question for a query, in each of its wordings: its vector is compared once. `mean` centres
   * the query first; without it the query is centred already.
   */
  score(query: ArrayLike<number>, wordings: readonly Wording[], mean?: Float32Array): ScoredAdapter[][] {
    const scale = this.#block.setQuery(query, mean);
    this.#block.multiply(0, this.profiles.length);
    this.#isCompared.fill(0);
    return wordings.map((wording) => this.#scoreWording(wording, scale));
  }

  #scoreWording(wording: Wording, scale: number): ScoredAdapter[] {
    const { question, heldOut, exchanged = 0 } = wording;
    const { words } = question;
    const { coverage, specificity } = this.#lexicon.match(words, heldOut);
    let total = 0;
    for (const { weight } of words) total += weight;
    // An unrelated word takes its share of the vector's energy, and the cosine falls by the root.
    const kept = Math.sqrt(1 - exchanged);
    const chosen = this.#preselect(specificity, scale, wording);
    const odds = this.#odds.of(chosen, question, heldOut);
    return chosen.map((adapter, position) => {
      const [centroid, exemplar, probe] = this.#similarities(adapter, scale, wording);
      const matched = coverage[adapter]! * total;
      return {
        adapter,
        features: [
          1,
          (kept * centroid - this.#centroidZero) / (1 - this.#centroidZero),
          (kept * exemplar - this.#exemplarZero) / (1 - this.#exemplarZero),
          kept * probe,
          specificity[adapter]!,
          matched / (matched + 1),
          odds[position]!,
        ],
      };
    });
  }

  /** The most promising adapters by their mean vector and their own words, as many as the row budget allows; at least two. */
  #preselect(specificity: Float32Array, scale: number, { heldOut, without }: Wording): number[] {
    const means = this.#block.products;
    const scores = this.#scores;
    for (let adapter = 0; adapter < scores.length; adapter++) {
      let similarity = means[adapter]! * scale;
      if (heldOut?.adapter === adapter) similarity = withoutItself(similarity, this.profiles[adapter]!.meanNorm);
      scores[adapter] = adapter === without ? TAKEN : similarity + specificity[adapter]!;
    }
    const chosen: number[] = [];
    for (let budget = this.#rowBudget; ; ) {
      const best = indexOfLargest(scores);
      if (scores.length === 0 || scores[best] === TAKEN) return chosen;
      budget -= this.#rows[best]!.to - this.#rows[best]!.from;
      if (budget < 0 && chosen.length >= 2) return chosen;
      chosen.push(best);
      scores[best] = TAKEN;
    }
  }

  /** Cosine to the nearest sub-centroid and to the nearest exemplar, and the probe's answer. */
  #similarities(adapter: number, scale: number, { heldOut, leverage = 0 }: Wording): [number, number, number] {
    const { from, clusters, to } = this.#rows[adapter]!;
    if (this.#isCompared[adapter] === 0) this.#block.multiply(from, to);
    this.#isCompared[adapter] = 1;
    const products = this.#block.products;
    const held = heldOut?.adapter === adapter ? heldOut.example : -1;
    const firstCluster = from + 1;
    const firstExemplar = firstCluster + clusters;
    let centroid = -1;
    let exemplar = -1;
    for (let row = firstCluster; row < firstExemplar; row++) {
      let similarity = products[row]! * scale;
      if (held >= 0) similarity = this.#withoutHeld(adapter, row - firstCluster, held, similarity);
      if (similarity > centroid) centroid = similarity;
    }
    for (let row = firstExemplar; row < to; row++) {
      if (row - firstExemplar !== held && products[row]! * scale > exemplar) exemplar = products[row]! * scale;
    }
    const probe = products[from]! * scale - (held >= 0 ? leverage : 0);
    return [centroid, exemplar, probe / (1 - leverage)];
  }

  #withoutHeld(adapter: number, cluster: number, held: number, similarity: number): number {
    const { assignment, counts, norms } = this.profiles[adapter]!.clusters;
    if (assignment[held] !== cluster) return similarity;
    return counts[cluster] === 1 ? -1 : withoutItself(similarity, norms[cluster]!);
  }

  #findZeros(): void {
    if (this.profiles.length === 0) return;
    let centroids = 0;
    let exemplars = 0;
    for (const [index, vector] of this.background.vectors.entries()) {
      const [scored] = this.score(vector, [{ question: this.background.questions[index]! }]) as [ScoredAdapter[]];
      centroids += Math.max(...scored.map(({ features }) => features[1]!));
      exemplars += Math.max(...scored.map(({ features }) => features[2]!));
    }
    this.#centroidZero = centroids / this.background.vectors.length;
    this.#exemplarZero = exemplars / this.background.vectors.length;
  }
}

/** What a ranking rests on; the `adapter` of `scored` is a position in `adapterIds`. */
export interface RankingEvidence {
  adapterIds: readonly string[];
  scored: readonly ScoredAdapter[];
}

const evidenceByQuery = new WeakMap<QueryVector, RankingEvidence>();

/** What the ranking of this very vector rests on; kept as long as the vector is. */
export function evidenceBehind(vector: QueryVector): RankingEvidence | null {
  return evidenceByQuery.get(vector) ?? null;
}

/** Below any score. */
const TAKEN = Number.NEGATIVE_INFINITY;

function indexOfLargest(values: Float32Array): number {
  let largest = 0;
  for (let index = 1; index < values.length; index++) if (values[index]! > values[largest]!) largest = index;
  return largest;
}

/** The cosine of a unit vector and a sum of unit vectors that holds it, once it is taken out of the sum. */
function withoutItself(cosine: number, norm: number): number {
  const along = cosine * norm;
  return (along - 1) / Math.sqrt(Math.max(1e-9, norm * norm - 2 * along + 1));
}
