import { z } from "zod";
import { ValidationError } from "../errors.js";
import { hashOf } from "../support/hash-of.js";
import type { SplitName } from "../types/index.js";
import { MOST_ROWS } from "./near-candidates.js";
import type { Numbers } from "./numbers.js";

/** What is held out of training, and how it is drawn. */
export interface HoldoutOptions {
  /** Hold out phrasings of learnt facts: whether, or for which share of the facts at most (0..1). Default true. */
  recall?: boolean | number;
  /** Hold out whole facts: whether (5 %, 2..12, from ten facts on), or which share of them (0..1). Default true. */
  generalisation?: boolean | number;
  /** Facts with only two phrasings are drawn on until this many phrasings are held out. Default 20. */
  minRecall?: number;
  /** Throw `dataset_too_small` where nothing can be held out for recall. Default false. */
  required?: boolean;
  /** Another seed draws other facts and phrasings. Default "clara". */
  seed?: string;
}

const Share = z.union([z.boolean(), z.number(), z.nan()]).optional();

/** The shape of `HoldoutOptions`; `toHoldoutOptions` looks at the shares. */
export const HoldoutChoice = z.strictObject({
  recall: Share,
  generalisation: Share,
  minRecall: z.number().int().min(0).optional(),
  required: z.boolean().optional(),
  seed: z.string().optional(),
});

const HOLDOUT_DEFAULTS = { recall: true, generalisation: true, minRecall: 20, seed: "clara" } as const;
const NO_HOLDOUT: HoldoutOptions = { recall: false, generalisation: false };

/** `true` means the defaults, `false` that everything is learnt. */
export function toHoldoutOptions(holdout: HoldoutOptions | boolean | undefined): HoldoutOptions {
  if (holdout === false) return NO_HOLDOUT;
  if (holdout === true || holdout === undefined) return {};
  for (const field of ["recall", "generalisation"] as const) {
    const share = holdout[field];
    if (typeof share !== "number" || (share >= 0 && share <= 1)) continue;
    throw new ValidationError("input_invalid", `holdout.${field} must be true, false or a share of 0..1, not ${share}.`, {
      details: { field: `holdout.${field}` },
    });
  }
  return holdout;
}

const LEAST_FACTS_FOR_GENERALISATION = 10;
const GENERALISATION_SHARE = 0.05;
const GENERALISATION_LEAST = 2;
const GENERALISATION_MOST = 12;
/** A fact that makes up more of the data than this is not held out whole. */
const LARGEST_HELD_OUT_FACT = 0.2;

/** What the draw knows of the facts (groups of one answer) and of the questions (clusters of nearly equal ones), each by its number. */
export interface SplitInput {
  /** The fact of each sample that is to be imitated, and the cluster of its question. */
  facts: Numbers<Uint32Array>;
  clusters: Numbers<Uint32Array>;
  /** Clusters of questions that have thumbs. */
  rated: ReadonlySet<number>;
  factCount: number;
  keyOf(fact: number): string;
  /** Facts such as "yes": two questions with it need not be phrasings of one. */
  isGeneric(fact: number): boolean;
  /** Depends on the questions alone. */
  nameOf(cluster: number): string;
}

/**
 * Draws the questions that are held out, so that no side knows the other's: whole facts for `generalisation`, one phrasing of facts with several for `recall`. The
 * draw depends on the texts and the seed alone, never on their order. A question that also stands elsewhere (other answer, or nearly the same) is not held out.
 */
export function drawHeldOut(input: SplitInput, options: HoldoutOptions = {}): Map<number, SplitName> {
  const settings = { ...HOLDOUT_DEFAULTS, ...options };
  const draw = new Draw(input, settings.seed);
  const whole = new Set(drawWholeFacts(draw, settings.generalisation));
  const heldOut = new Map<number, SplitName>();
  for (const fact of whole) for (const cluster of draw.clustersOf(fact)) heldOut.set(cluster, "generalisation");
  for (const cluster of drawPhrasings(draw, whole, settings)) heldOut.set(cluster, "recall");
  return heldOut;
}

/** The phrasings of each fact, and the lots. */
class Draw {
  readonly input: SplitInput;
  readonly total: number;
  readonly #seed: string;
  readonly #sizes: Uint32Array;
  /** Clusters sorted by fact, each once a fact; those of a fact begin at its start. */
  readonly #clusters: Uint32Array;
  readonly #starts: Uint32Array;
  /** Clusters of more than one fact. */
  readonly #shared = new Set<number>();

  constructor(input: SplitInput, seed: string) {
    const { facts, clusters, factCount } = input;
    this.input = input;
    this.total = facts.length;
    this.#seed = seed;
    this.#sizes = new Uint32Array(factCount);
    const pairs = new Float64Array(facts.length);
    for (let index = 0; index < facts.length; index += 1) {
      this.#sizes[facts.at(index)]! += 1;
      pairs[index] = facts.at(index) * MOST_ROWS + clusters.at(index);
    }
    pairs.sort();
    const distinct = pairs.filter((pair, index) => pair !== pairs[index - 1]);
    this.#clusters = Uint32Array.from(distinct, (pair) => pair % MOST_ROWS);
    this.#starts = new Uint32Array(factCount + 1);
    for (const pair of distinct) this.#starts[Math.floor(pair / MOST_ROWS) + 1]! += 1;
    for (let fact = 0; fact < factCount; fact += 1) this.#starts[fact + 1]! += this.#starts[fact]!;
    const sorted = this.#clusters.slice().sort();
    for (const [index, cluster] of sorted.entries()) if (cluster === sorted[index - 1]) this.#shared.add(cluster);
  }

  sizeOf(fact: number): number {
    return this.#sizes[fact]!;
  }

  clustersOf(fact: number): Uint32Array {
    return this.#clusters.subarray(this.#starts[fact], this.#starts[fact + 1]);
  }

  /** False for a question that has several answers. */
  isOwn(cluster: number): boolean {
    return !this.#shared.has(cluster);
  }

  /** The lot of a fact or of a phrasing of it. */
  lot(purpose: string, fact: number, cluster?: number): string {
    const { keyOf, nameOf } = this.input;
    return hashOf(this.#seed, purpose, keyOf(fact), ...(cluster === undefined ? [] : [nameOf(cluster)]));
  }

  /** The facts that pass, in the order of their lots. */
  ranked(purpose: string, passes: (fact: number) => boolean): number[] {
    const facts: number[] = [];
    for (let fact = 0; fact < this.input.factCount; fact += 1) if (!this.input.isGeneric(fact) && passes(fact)) facts.push(fact);
    // The first 52 bits of a lot decide, as a number; facts of equal lots keep their order, which is that of the sorted samples.
    const lots = new Float64Array(this.input.factCount);
    for (const fact of facts) lots[fact] = Number.parseInt(this.lot(purpose, fact).slice(0, 13), 16);
    return facts.sort((left, right) => lots[left]! - lots[right]! || left - right);
  }
}

function drawWholeFacts(draw: Draw, wanted: boolean | number): number[] {
  const count = countOfWholeFacts(draw.input.factCount, wanted);
  if (count === 0) return [];
  return draw
    .ranked(
      "generalisation",
      (fact) => draw.sizeOf(fact) <= draw.total * LARGEST_HELD_OUT_FACT && draw.clustersOf(fact).every((cluster) => draw.isOwn(cluster)),
    )
    .slice(0, count);
}

function countOfWholeFacts(facts: number, wanted: boolean | number): number {
  if (typeof wanted === "number") return Math.min(facts - 1, Math.round(facts * wanted));
  if (!wanted || facts < LEAST_FACTS_FOR_GENERALISATION) return 0;
  return Math.min(GENERALISATION_MOST, Math.max(GENERALISATION_LEAST, Math.round(facts * GENERALISATION_SHARE)));
}

/** One phrasing of each fact with three or more, and of a third of those with two where the others are too few. */
function drawPhrasings(
  draw: Draw,
  whole: ReadonlySet<number>,
  { recall, minRecall }: { recall: boolean | number; minRecall: number },
): number[] {
  const facts = draw.input.factCount - whole.size;
  const most = typeof recall === "number" ? Math.round(facts * recall) : recall ? facts : 0;
  if (most === 0) return [];
  // Phrasings that nobody rated come first: holding out a rated one costs its thumbs.
  const drawOne = (fact: number): number[] =>
    [...draw.clustersOf(fact)]
      .filter((cluster) => draw.isOwn(cluster))
      .map((cluster) => ({ cluster, lot: `${draw.input.rated.has(cluster) ? 1 : 0}${draw.lot("recall", fact, cluster)}` }))
      .sort((left, right) => (left.lot < right.lot ? -1 : 1))
      .slice(0, 1)
      .map(({ cluster }) => cluster);
  const ranked = draw.ranked("group", (fact) => !whole.has(fact) && draw.clustersOf(fact).length >= 2);
  const drawn = ranked.filter((fact) => draw.clustersOf(fact).length >= 3).flatMap(drawOne);
  const pairs = ranked.filter((fact) => draw.clustersOf(fact).length === 2);
  const missing = Math.min(minRecall - drawn.length, Math.floor(pairs.length / 3));
  if (missing > 0) drawn.push(...pairs.flatMap(drawOne).slice(0, missing));
  return drawn.slice(0, most);
}
