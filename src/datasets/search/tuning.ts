import { ValidationError } from "../../errors.js";
import type { JudgedQuery, SearchFusion, SearchSettings, SearchTuning, SearchType } from "../../types/index.js";
import { type Findings, fuse, type LegWeights } from "./fusion.js";
import { ndcg } from "./ndcg.js";
import type { FoundChunk } from "./search-statement.js";

const DEPTH = 10;
const MOST_FOLDS = 5;
/** The weights of the grid are tenths. */
const STEPS = 10;

/** What the legs found for one query, before the fusion. */
export interface JudgedCandidates {
  judged: JudgedQuery;
  candidates: readonly { id: string; documentId: string; findings: Findings }[];
  /** Legs that have something to say about the query. */
  legs: ReadonlySet<SearchType>;
}

interface Setting {
  fusion: SearchFusion;
  weights: LegWeights;
}

/**
 * Chooses fusion and weights by mean nDCG@10 over a grid of tenths. The grid has each leg alone, so the choice is never worse than
 * the best of them on these queries; where it is no better on queries that it was not chosen by (five folds), that leg is taken.
 * @throws ValidationError `input_invalid` for fewer than 4 queries, or where nothing that was judged is found
 */
export function chooseSettings(queries: readonly JudgedCandidates[], legs: readonly SearchType[]): SearchTuning {
  if (queries.length < 4) {
    throw new ValidationError("input_invalid", `Tuning needs at least 4 judged queries, not ${queries.length}.`, {
      details: { field: "judged" },
    });
  }
  const grid = settingsOf(legs);
  const scores = grid.map((setting) => queries.map((query) => ndcgOf(query, setting)));
  const alone = new Map(legs.map((leg) => [leg, scores[grid.findIndex(({ weights }) => weights[leg] === 1)]!]));
  const all = queries.map((_, index) => index);
  if ([...alone.values()].every((values) => mean(values, all) === 0)) {
    const message =
      "No leg finds any of the judged documents among its best ten, so nothing can be chosen by them. Give ids of documents that answer the queries.";
    throw new ValidationError("input_invalid", message, { details: { field: "judged" } });
  }
  const bestLeg = [...alone].sort(([, left], [, right]) => mean(right, all) - mean(left, all))[0]![0];
  const best = bestOf(scores, all);
  const folds = Math.min(MOST_FOLDS, queries.length);
  const outside = all.map((index) => {
    const others = all.filter((other) => other % folds !== index % folds);
    return scores[bestOf(scores, others)]![index]!;
  });
  const crossValidatedNdcg = mean(outside, all);
  const isFallback = isAlone(grid[best]!.weights, legs) || crossValidatedNdcg <= mean(alone.get(bestLeg)!, all);
  const chosen = isFallback ? grid.findIndex(({ weights }) => weights[bestLeg] === 1) : best;
  const { fusion, weights } = grid[chosen]!;
  return {
    settings: { searchTypes: legs.filter((leg) => weights[leg] > 0), fusion, weights },
    ndcg: mean(scores[chosen]!, all),
    crossValidatedNdcg: isFallback ? mean(alone.get(bestLeg)!, all) : crossValidatedNdcg,
    legs: Object.fromEntries([...alone].map(([leg, values]) => [leg, mean(values, all)])),
    bestLeg,
    isFallback,
    queries: queries.length,
    folds,
  };
}

/** Mean nDCG@10 of given settings. */
export function scoreSettings(queries: readonly JudgedCandidates[], settings: Required<SearchSettings>): number {
  const total = queries.reduce((sum, query) => sum + ndcgOf(query, settings), 0);
  return total / queries.length;
}

/** Found rows as tuning looks at them. */
export function toCandidates(judged: JudgedQuery, found: { rows: FoundChunk[]; active: ReadonlySet<SearchType> }): JudgedCandidates {
  const finding = (score: number | null, rank: string | null) => ({
    score: score === null ? null : Number(score),
    rank: rank === null ? null : Number(rank),
  });
  const candidates = found.rows.map((row) => ({
    id: row.id,
    documentId: row.document_id,
    findings: {
      vector: finding(row.vector, row.vector_rank),
      graph: finding(row.graph, row.graph_rank),
      keyword: finding(row.keyword, row.keyword_rank),
    },
  }));
  const documentIds = new Set(candidates.map(({ documentId }) => documentId));
  // Whoever judges what a search gave has the ids of its results, which are chunks.
  const documentOf = (id: string): string => {
    const document = id.replace(/#\d+$/, "");
    return documentIds.has(id) || !documentIds.has(document) ? id : document;
  };
  return { judged: { ...judged, relevant: [...new Set(judged.relevant.map(documentOf))] }, candidates, legs: found.active };
}

/** Each leg alone comes first, so that of equal settings the simplest wins. */
function settingsOf(legs: readonly SearchType[]): Setting[] {
  const grid: LegWeights[] = [];
  const extend = (rest: readonly SearchType[], left: number, weights: LegWeights): void => {
    const [leg, ...others] = rest;
    if (leg === undefined) return;
    if (others.length === 0) grid.push({ ...weights, [leg]: left / STEPS });
    else for (let step = 0; step <= left; step += 1) extend(others, left - step, { ...weights, [leg]: step / STEPS });
  };
  extend(legs, STEPS, { vector: 0, graph: 0, keyword: 0 });
  const by = (fusion: SearchFusion, isSingle: boolean): Setting[] =>
    grid.filter((weights) => isAlone(weights, legs) === isSingle).map((weights) => ({ fusion, weights }));
  return [...by("weighted", true), ...by("rrf", false), ...by("weighted", false)];
}

function isAlone(weights: LegWeights, legs: readonly SearchType[]): boolean {
  return legs.filter((leg) => weights[leg] > 0).length === 1;
}

/** Chunks by score; a document stands where its best chunk does. */
function ndcgOf({ judged, candidates, legs }: JudgedCandidates, { fusion, weights }: Setting): number {
  const active: LegWeights = { vector: 0, graph: 0, keyword: 0 };
  for (const leg of legs) active[leg] = weights[leg];
  const ranked = candidates
    .map(({ id, documentId, findings }) => ({ id, documentId, score: fuse(findings, fusion, active) }))
    .filter(({ score }) => score > 0)
    .sort((left, right) => right.score - left.score || (left.id < right.id ? -1 : 1));
  const documents = [...new Set(ranked.map(({ documentId }) => documentId))];
  return ndcg(documents, new Map(judged.relevant.map((id) => [id, 1])), DEPTH);
}

function bestOf(scores: readonly number[][], indices: readonly number[]): number {
  let best = 0;
  for (const index of scores.keys()) if (mean(scores[index]!, indices) > mean(scores[best]!, indices) + 1e-9) best = index;
  return best;
}

function mean(values: readonly number[], indices: readonly number[]): number {
  return indices.reduce((sum, index) => sum + values[index]!, 0) / indices.length;
}
