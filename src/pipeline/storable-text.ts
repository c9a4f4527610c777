import { createHash } from "node:crypto";

/** What Postgres can store: without U+0000 and without halves of surrogate pairs. */
export function storableText(text: string): string {
  return text.replaceAll("\u0000", "\ufffd").replace(/\p{Surrogate}/gu, "\ufffd");
}

/** JSON text for a `jsonb` column. */
export function storableJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "string" ? storableText(inner) : inner)) ?? "null";
}

/** Texts that differ only in case, white space, Unicode form or closing punctuation are the same to a reader. */
export function normaliseText(text: string): string {
  const plain = text.normalize("NFC").toLowerCase().replace(/\s+/g, " ").trim();
  return plain.replace(/ ?[.?!…]{1,8}$/u, "") || plain;
}

/** SHA-256 in hex over parts that cannot run into each other. */
export function hashOf(...parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex");
}
