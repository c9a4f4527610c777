import { hash } from "node:crypto";

/** SHA-256 of texts, hex; a length prefix keeps `["ab", "c"]` and `["a", "bc"]` apart. */
export function hashOf(...parts: readonly string[]): string {
  return hash("sha256", parts.map((part) => `${part.length}:${part}`).join(""), "hex");
}
