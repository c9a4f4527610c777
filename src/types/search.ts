import { z } from "zod";
import { Metadata, Slug } from "./common.js";

export const SearchType = z.enum(["vector", "graph", "keyword"]);
export type SearchType = z.infer<typeof SearchType>;

/** What `content` of a document is. */
export const DocumentContentType = z.enum(["text/plain", "text/markdown", "text/html"]);
export type DocumentContentType = z.infer<typeof DocumentContentType>;

/** A document to add to the corpus. An unknown field is refused, for a misspelt `tenant` would show the document to everybody; your own go into `metadata`. */
export const DocumentInput = z.strictObject({
  id: z.string().min(1).max(256).optional(),
  content: z.string().min(1),
  /** Default `text/plain`. Of the others the readable text is kept; headings become titles of chunks. */
  contentType: DocumentContentType.optional(),
  title: z.string().max(512).optional(),
  documentType: z.string().max(64).optional(),
  domain: Slug.optional(),
  language: z.enum(["english", "german", "simple"]).optional(),
  /** Whose it is; only searches of this tenant see it. Without one, it is everybody's. */
  tenant: z.string().min(1).max(128).optional(),
  source: z.string().max(256).optional(),
  /** When the document was written; ISO 8601. */
  date: z.iso.datetime({ offset: true }).or(z.iso.date()).optional(),
  metadata: Metadata.optional(),
});
export type DocumentInput = z.infer<typeof DocumentInput>;

/** How the legs' scores become one: their weighted mean, or reciprocal rank fusion (Cormack et al. 2009) by weight, which looks at the places only. */
export const SearchFusion = z.enum(["weighted", "rrf"]);
export type SearchFusion = z.infer<typeof SearchFusion>;

/** Others leave the numbers that a database can multiply. */
const SearchWeight = z
  .number()
  .min(0)
  .max(1e6)
  .refine((weight) => weight === 0 || weight >= 1e-6, "give 0, or 0.000001 or more");

/** Weights of the legs, each 0 or 0.000001..1,000,000; they need not add up to 1. */
export const SearchWeights = z.strictObject({
  vector: SearchWeight.default(0.5),
  graph: SearchWeight.default(0.3),
  keyword: SearchWeight.default(0.2),
});
export type SearchWeights = z.input<typeof SearchWeights>;

/** An unknown field or filter is refused: left out, it would show what it was to hide. */
export const SearchQuery = z.strictObject({
  queryText: z.string().min(1).max(8192),
  /** 1..1000, default 100. */
  topK: z.number().int().min(1).max(1000).default(100),
  /** Default: all that the store has data for. */
  searchTypes: z.array(SearchType).min(1).optional(),
  /** Default `weighted`. */
  fusion: SearchFusion.default("weighted"),
  weights: SearchWeights.prefault({}),
  /** Relations that graph search follows from the query's entities: 0..3, default 2. */
  hops: z.number().int().min(0).max(3).default(2),
  filters: z
    .strictObject({
      documentType: z.string().optional(),
      domain: Slug.optional(),
      /** Sees this tenant's documents and those of nobody; without it only those of nobody. Never another tenant's. */
      tenant: z.string().min(1).max(128).optional(),
      /** 0..1. */
      minQuality: z.number().min(0).max(1).optional(),
      from: z.iso.datetime({ offset: true }).or(z.iso.date()).optional(),
      to: z.iso.datetime({ offset: true }).or(z.iso.date()).optional(),
    })
    .default({}),
});
export type SearchQuery = z.input<typeof SearchQuery>;

export const SearchResult = z.object({
  id: z.string(),
  content: z.string(),
  /** 0..1. */
  score: z.number().min(0).max(1),
  /** Per leg, 0..1; a leg that did not find it is absent. */
  scores: z.object({ vector: z.number().optional(), graph: z.number().optional(), keyword: z.number().optional() }),
  /** Why it was found, in short, one for each leg that found it; for people. */
  reasons: z.array(z.string()).optional(),
  source: z.string(),
  metadata: Metadata,
});
export type SearchResult = z.infer<typeof SearchResult>;

/** The answer of `addDocuments`. */
export const AddDocumentsResult = z.object({
  added: z.number().int(),
  /** Already there with the same content, under this id with the same metadata, or under another id. */
  skipped: z.number().int(),
  rejected: z.array(z.object({ index: z.number().int(), reason: z.string() })),
});
export type AddDocumentsResult = z.infer<typeof AddDocumentsResult>;
