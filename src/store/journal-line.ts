import { createHash } from "node:crypto";
import type { JournalEntry } from "./store.js";

/**
 * One journal line: the entry's JSON, its place in the batch that was synced as one, and the first 16 hexadecimal digits of the
 * SHA-256 of both.
 */
export function encodeLine(entryJson: string, batchIndex: number): string {
  return `{"sum":"${checksum(entryJson, batchIndex)}","batchIndex":${batchIndex},"entry":${entryJson}}\n`;
}

/** The entry of a line without its line break, or null where the line is damaged. */
export function decodeLine(text: string): { entry: JournalEntry; batchIndex: number } | null {
  const match = /^\{"sum":"([0-9a-f]{16})","batchIndex":(\d+),"entry":(.*)\}$/s.exec(text);
  if (match === null) return null;
  const [, sum, index, json = ""] = match;
  const batchIndex = Number(index);
  return checksum(json, batchIndex) === sum ? { entry: JSON.parse(json) as JournalEntry, batchIndex } : null;
}

function checksum(entryJson: string, batchIndex: number): string {
  return createHash("sha256").update(`${batchIndex} ${entryJson}`).digest("hex").slice(0, 16);
}
