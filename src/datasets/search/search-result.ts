import type { SearchResult } from "../../types/index.js";
import type { FoundChunk } from "./search-statement.js";

/** A found row as the caller sees it. */
export function toResult(row: FoundChunk): SearchResult {
  const scores: SearchResult["scores"] = {};
  if (row.vector !== null) scores.vector = clamp(Number(row.vector));
  if (row.graph !== null) scores.graph = clamp(Number(row.graph));
  if (row.keyword !== null) scores.keyword = clamp(Number(row.keyword));
  const metadata = {
    ...(row.metadata as SearchResult["metadata"]),
    documentId: row.document_id,
    chunk: row.position,
    domain: row.domain,
    language: row.language,
    quality: row.quality,
    ...(row.title === null ? {} : { title: row.title }),
    ...(row.tenant === null ? {} : { tenant: row.tenant }),
    ...(row.document_type === null ? {} : { documentType: row.document_type }),
    ...(row.date === null ? {} : { date: row.date.toISOString() }),
  };
  const reasons = reasonsOf(scores, row);
  return { id: row.id, content: row.content, score: clamp(Number(row.score)), scores, reasons, source: row.source, metadata };
}

function reasonsOf(scores: SearchResult["scores"], row: FoundChunk): string[] {
  const reasons: string[] = [];
  if (scores.vector) reasons.push(`vector: cosine ${scores.vector.toFixed(2)}`);
  if (scores.graph) reasons.push(`graph: ${(row.paths ?? []).join("; ")}`);
  if (scores.keyword) reasons.push(`keyword: ${(row.words ?? []).join(", ")}`);
  return reasons;
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
