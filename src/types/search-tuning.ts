import { z } from "zod";
import { SearchFusion, SearchType } from "./search.js";

/** A query and the documents that answer it, as people judged. */
export const JudgedQuery = z.object({
  queryText: z.string().min(1).max(8192),
  /** Ids of documents, or of search results. */
  relevant: z.array(z.string().min(1)).min(1),
});
export type JudgedQuery = z.infer<typeof JudgedQuery>;

/** How search is to fuse its legs; what a query says itself goes first. */
export const SearchSettings = z.object({
  searchTypes: z.array(SearchType).min(1).optional(),
  fusion: SearchFusion.optional(),
  weights: z.object({ vector: z.number().min(0), graph: z.number().min(0), keyword: z.number().min(0) }).optional(),
});
export type SearchSettings = z.infer<typeof SearchSettings>;

/** What `tuneSearch` found; every figure is a mean nDCG@10 over the judged queries, 0..1. */
export interface SearchTuning {
  /** The best settings on all queries. */
  settings: Required<SearchSettings>;
  /** Of these settings on the queries they were chosen by. */
  ndcg: number;
  /** Of settings chosen without the query that they are judged on: what to expect of new queries. */
  crossValidatedNdcg: number;
  /** Of each leg alone. */
  legs: Partial<Record<SearchType, number>>;
  /** The leg that is best alone. */
  bestLeg: SearchType;
  /** Fusing did not hold up on queries that it was not chosen by, so the best single leg is taken. */
  isFallback: boolean;
  queries: number;
  folds: number;
}
