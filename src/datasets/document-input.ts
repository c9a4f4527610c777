import { hashOf } from "../support/hash-of.js";
import { DEFAULT_DOMAIN, DocumentInput } from "../types/index.js";
import { findEncodingFault } from "./checks/encoding.js";
import { chunkText } from "./chunking.js";
import { sectionsOf } from "./documents/sections.js";
import { detectLanguage } from "./language.js";
import type { QualityChecker } from "./quality-checker.js";
import { normaliseText, tokensOf } from "./text-normalisation.js";

/** Longest document, in characters: a book of a thousand pages. Longer ones are rejected before anything reads them. */
export const MAX_DOCUMENT_LENGTH = 2_000_000;

/** A document that can be stored: cut into chunks, with its language and the quality of each chunk. */
export interface ReadyDocument {
  id: string;
  contentHash: string;
  /** Of title, type, language, source, date and metadata. */
  attributesHash: string;
  documentType: string | null;
  tenant: string | null;
  domain: string;
  language: string;
  source: string;
  date: Date | null;
  metadata: Record<string, unknown>;
  /** `title`: the document's and the headings above the chunk. */
  chunks: { title: string | null; content: string; quality: number }[];
}

/** Stands where a document should be that could not be read. */
export class UnreadableDocument {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/** Checks one document and cuts it; the reason where it is refused. A short text is kept with a low quality, what is unreadable is not. */
export async function readDocument(
  input: unknown,
  quality: QualityChecker,
  signal?: AbortSignal,
): Promise<ReadyDocument | { reason: string }> {
  if (input instanceof UnreadableDocument) return { reason: input.reason };
  const length = (input as { content?: unknown } | null)?.content;
  if (typeof length === "string" && length.length > MAX_DOCUMENT_LENGTH) {
    return { reason: `too_large: ${length.length} characters; at most ${MAX_DOCUMENT_LENGTH}. Cut it into several documents` };
  }
  const parsed = DocumentInput.safeParse(input);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const hint = issue?.code === "unrecognized_keys" ? ". Correct a misspelt one; what else you know of a document goes into metadata" : "";
    return { reason: `invalid: ${issue?.path.join(".") || "document"}: ${issue?.message ?? "wrong shape"}${hint}` };
  }
  const document = parsed.data;
  const metadata = document.metadata ?? {};
  for (const text of [
    document.content,
    document.id ?? "",
    document.title ?? "",
    document.documentType ?? "",
    document.tenant ?? "",
    document.source ?? "",
    ...textsWithin(metadata),
  ]) {
    const fault = findEncodingFault(text);
    if (fault) return { reason: `encoding: ${fault}` };
  }
  const sections = sectionsOf(document.content, document.contentType ?? "text/plain");
  if (sections === null) return { reason: "too_deep: more elements lie inside one another than can be read. Give its text as text/plain" };
  const text = sections.map((section) => section.text).join("\n\n");
  if (!tokensOf(text).some((token) => /[\p{L}\p{N}]/u.test(token))) return { reason: "empty: the text has no letter or digit" };
  const domain = document.domain ?? DEFAULT_DOMAIN;
  // Each tenant keeps its own copy: that another one has a text is nobody's business.
  const owner = document.tenant === undefined ? [] : [document.tenant];
  const contentHash = hashOf("document", domain, ...owner, normaliseText(text));
  const chunks: ReadyDocument["chunks"] = [];
  for (const section of sections) {
    const title = [document.title, section.title].filter(Boolean).join(" › ") || null;
    for (const content of chunkText(section.text, quality.maxLength)) {
      const report = await quality.check({ prompt: "", response: content }, { kind: "document", signal });
      chunks.push({ title, content, quality: report.score });
    }
  }
  const attributes = {
    documentType: document.documentType ?? null,
    language: document.language ?? detectLanguage(text),
    source: document.source ?? "corpus",
    date: document.date === undefined ? null : new Date(document.date),
    metadata,
  };
  return {
    id: document.id ?? `document_${contentHash.slice(0, 32)}`,
    contentHash,
    attributesHash: hashOf("attributes", JSON.stringify({ title: document.title, ...attributes })),
    tenant: document.tenant ?? null,
    domain,
    ...attributes,
    chunks,
  };
}

function textsWithin(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...textsWithin(inner)]);
}
