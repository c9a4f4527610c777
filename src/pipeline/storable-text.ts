/** What Postgres can store: without U+0000 and without halves of surrogate pairs. */
export function storableText(text: string): string {
  return text.toWellFormed().replaceAll("\u0000", "\ufffd");
}

/** How `JSON.stringify` writes what Postgres cannot store. */
const UNSTORABLE = /\\u(?:0000|d[89a-f])/;

/** JSON text for a `jsonb` column. */
export function storableJson(value: unknown): string {
  const json = JSON.stringify(value) ?? "null";
  if (!UNSTORABLE.test(json)) return json;
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "string" ? storableText(inner) : inner));
}

/** Texts that differ only in case, white space, Unicode form or closing punctuation are the same to a reader. */
export function normaliseText(text: string): string {
  const plain = text.normalize("NFC").toLowerCase().replace(/\s+/g, " ").trim();
  return plain.replace(/ ?[.?!…]{1,8}$/u, "") || plain;
}
