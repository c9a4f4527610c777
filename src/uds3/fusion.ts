import { rankScore } from "../datasets/search/fusion.js";
import type { SearchResult, SearchType } from "../types/index.js";
import type { LegHit } from "./leg.js";

/** How the legs' lists become one: by their scores, or by their ranks. */
export type Fusion = "weighted" | "rrf";

/** One document with what the legs said of it. */
export interface FusedHit {
  documentId: string;
  /** 0..1. */
  score: number;
  scores: SearchResult["scores"];
  /** Of the legs that found it, the one whose text says most first: the nearest chunk, the document's text, the graph's copy. */
  hits: LegHit[];
}

/**
 * One list of all legs' documents, best first. `weighted`: the weighted mean of the scores; `rrf`: Σ weight / (60 + rank), divided by what a document that is first everywhere would have. Either way a leg
 * that did not find a document counts 0, and 1 is the most there is.
 */
export function fuse(
  lists: Partial<Record<SearchType, readonly LegHit[]>>,
  weights: Record<SearchType, number>,
  fusion: Fusion,
): FusedHit[] {
  const legs = (["vector", "keyword", "graph"] as const).filter((leg) => lists[leg] !== undefined);
  const totalWeight = legs.reduce((sum, leg) => sum + weights[leg], 0);
  const fused = new Map<string, FusedHit>();
  for (const leg of legs) {
    for (const [index, hit] of (lists[leg] ?? []).entries()) {
      const one: FusedHit = fused.get(hit.documentId) ?? { documentId: hit.documentId, score: 0, scores: {}, hits: [] };
      fused.set(hit.documentId, one);
      one.scores[leg] = hit.score;
      one.hits.push(hit);
      const share = fusion === "weighted" ? hit.score : rankScore(index + 1);
      if (totalWeight > 0) one.score += (weights[leg] / totalWeight) * share;
    }
  }
  return [...fused.values()]
    .map((one) => ({ ...one, score: Math.min(1, one.score) }))
    .filter((one) => one.score > 0)
    .sort((left, right) => right.score - left.score || (left.documentId < right.documentId ? -1 : 1));
}

/** The answer's shape; fields of the first leg that knows them. */
export function toResult({ documentId, score, scores, hits }: FusedHit): SearchResult {
  const known = <K extends keyof LegHit["fields"]>(field: K): NonNullable<LegHit["fields"][K]> | undefined =>
    hits.map((hit) => hit.fields[field]).find((value) => value != null) as NonNullable<LegHit["fields"][K]> | undefined;
  const { title, documentType, domain, date, quality } = {
    title: known("title"),
    documentType: known("documentType"),
    domain: known("domain"),
    date: known("date"),
    quality: known("quality"),
  };
  const metadata: SearchResult["metadata"] = {
    ...(known("metadata") as SearchResult["metadata"] | undefined),
    documentId,
    ...(title === undefined ? {} : { title }),
    ...(documentType === undefined ? {} : { documentType }),
    ...(domain === undefined ? {} : { domain }),
    ...(date === undefined ? {} : { date }),
    ...(quality === undefined ? {} : { quality }),
  };
  const content = hits.map((hit) => hit.content).find((text) => text !== null && text !== "") ?? "";
  return { id: documentId, content, score, scores, source: known("source") ?? "uds3", metadata };
}
