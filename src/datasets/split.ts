import { ValidationError } from "../errors.js";
import { hashOf } from "../support/hash-of.js";
import type { DatasetItem, Sample, SplitName } from "../types/index.js";
import { groupKeyOf, isGenericAnswer } from "./answer-group.js";
import { clusterPrompts } from "./prompt-clusters.js";

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

const LEAST_GROUPS_FOR_GENERALISATION = 10;
const GENERALISATION_SHARE = 0.05;
const GENERALISATION_LEAST = 2;
const GENERALISATION_MOST = 12;
/** A fact that makes up more of the data than this is not held out whole. */
const LARGEST_HELD_OUT_GROUP = 0.2;

interface Group {
  readonly key: string;
  readonly samples: Sample[];
  /** Clusters of equal or nearly equal questions of this fact. */
  readonly prompts: Map<string, Sample[]>;
}

/** The rows with their splits, and what had to be left out to keep the splits apart. */
export interface SplitSamples {
  items: DatasetItem[];
  removed: { sampleId: string; reason: string }[];
}

/**
 * Splits samples without leaks: whole facts to `generalisation`, one phrasing of facts with several to `recall`, thumbs to `preference`, the rest to `train`. The draw
 * depends on the texts and the seed alone, never on their order. A question that also stands elsewhere (other answer, or nearly the same) is not held out.
 */
export function splitSamples(samples: readonly Sample[], options: HoldoutOptions = {}): SplitSamples {
  const settings = { ...HOLDOUT_DEFAULTS, ...options };
  const imitate = samples.filter((sample) => sample.objective === "imitate");
  const preference = samples.filter((sample) => sample.objective === "preference");
  const clusterOf = clusterPrompts(samples.map((sample) => sample.prompt));
  const groups = groupSamples(imitate, clusterOf);
  const groupsOfPrompt = countGroupsOfPrompts(groups);
  const rated = new Set(preference.map((sample) => clusterOf(sample.prompt)));
  const rank = (...parts: string[]): string => hashOf(settings.seed, ...parts);
  const isOwn = (cluster: string): boolean => groupsOfPrompt.get(cluster) === 1;

  const whole = new Set(drawWholeGroups(groups, settings.generalisation, imitate.length, isOwn, rank));
  const heldOut = new Map<string, SplitName>();
  for (const group of whole) for (const cluster of group.prompts.keys()) heldOut.set(cluster, "generalisation");
  const rest = groups.filter((group) => !whole.has(group));
  for (const cluster of drawPhrasings(rest, settings, isOwn, rated, rank)) heldOut.set(cluster, "recall");

  const items: DatasetItem[] = [];
  const removed: SplitSamples["removed"] = [];
  for (const sample of samples) {
    const split = heldOut.get(clusterOf(sample.prompt));
    const group = groupKeyOf(sample.response);
    if (sample.objective === "imitate") items.push({ sample, split: split ?? "train", group });
    else if (split === undefined) items.push({ sample, split: "preference", group });
    else removed.push({ sampleId: sample.id, reason: `held_out_question: its question is held out for ${split}` });
  }
  return { items, removed };
}

function groupSamples(samples: readonly Sample[], clusterOf: (prompt: string) => string): Group[] {
  const groups = new Map<string, Group>();
  for (const sample of samples) {
    const key = groupKeyOf(sample.response);
    const group: Group = groups.get(key) ?? { key, samples: [], prompts: new Map() };
    groups.set(key, group);
    group.samples.push(sample);
    const cluster = clusterOf(sample.prompt);
    const phrasing = group.prompts.get(cluster);
    if (phrasing) phrasing.push(sample);
    else group.prompts.set(cluster, [sample]);
  }
  return [...groups.values()].sort((left, right) => (left.key < right.key ? -1 : 1));
}

function countGroupsOfPrompts(groups: readonly Group[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const group of groups) for (const cluster of group.prompts.keys()) counts.set(cluster, (counts.get(cluster) ?? 0) + 1);
  return counts;
}

type Rank = (...parts: string[]) => string;

function drawWholeGroups(
  groups: readonly Group[],
  wanted: boolean | number,
  total: number,
  isOwn: (cluster: string) => boolean,
  rank: Rank,
): Group[] {
  const count = countOfWholeGroups(groups.length, wanted);
  if (count === 0) return [];
  const eligible = groups.filter(
    (group) =>
      group.samples.length <= total * LARGEST_HELD_OUT_GROUP &&
      !isGenericAnswer(group.samples[0]!.response) &&
      [...group.prompts.keys()].every(isOwn),
  );
  return sortBy(eligible, (group) => rank("generalisation", group.key)).slice(0, count);
}

function countOfWholeGroups(groups: number, wanted: boolean | number): number {
  if (typeof wanted === "number") return Math.min(groups - 1, Math.round(groups * wanted));
  if (!wanted || groups < LEAST_GROUPS_FOR_GENERALISATION) return 0;
  return Math.min(GENERALISATION_MOST, Math.max(GENERALISATION_LEAST, Math.round(groups * GENERALISATION_SHARE)));
}

/** One phrasing of each fact with three or more, and of a third of those with two where the others are too few. */
function drawPhrasings(
  groups: readonly Group[],
  { recall, minRecall }: { recall: boolean | number; minRecall: number },
  isOwn: (cluster: string) => boolean,
  rated: ReadonlySet<string>,
  rank: Rank,
): string[] {
  const most = typeof recall === "number" ? Math.round(groups.length * recall) : recall ? groups.length : 0;
  // Phrasings that nobody rated come first: holding out a rated one costs its thumbs.
  const drawOne = (group: Group): string[] =>
    sortBy(
      [...group.prompts.keys()].filter(isOwn),
      (cluster) => `${rated.has(cluster) ? 1 : 0}${rank("recall", group.key, cluster)}`,
    ).slice(0, 1);
  const ranked = sortBy(
    groups.filter((group) => !isGenericAnswer(group.samples[0]!.response)),
    (group) => rank("group", group.key),
  );
  const drawn = ranked.filter((group) => group.prompts.size >= 3).flatMap(drawOne);
  const pairs = ranked.filter((group) => group.prompts.size === 2);
  const missing = Math.min(minRecall - drawn.length, Math.floor(pairs.length / 3));
  if (missing > 0) drawn.push(...pairs.flatMap(drawOne).slice(0, missing));
  return drawn.slice(0, most);
}

function sortBy<T>(values: readonly T[], key: (value: T) => string): T[] {
  return values
    .map((value) => ({ value, key: key(value) }))
    .sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0))
    .map((entry) => entry.value);
}
