import { createHash } from "node:crypto";
import { ValidationError } from "../errors.js";
import { hashOf } from "../support/hash-of.js";
import type { DatasetItem, Sample } from "../types/index.js";
import { isWellFormed } from "./text-normalisation.js";

/** Bytes of a SHA-256. */
const HASH_BYTES = 32;

/** The hash of a dataset's content, gathered row by row; 32 bytes of memory a row. */
export class ContentHash {
  #bytes = Buffer.alloc(1024 * HASH_BYTES);
  #rows = 0;

  /** Adds a row, whose texts must be storable (`findUnstorable`). */
  add(item: DatasetItem): void {
    const { sample, split, group } = item;
    const fields = fieldsOf(sample).sort(([left], [right]) => (left < right ? -1 : 1));
    if ((this.#rows + 1) * HASH_BYTES > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length)]);
    this.#bytes.write(hashOf(JSON.stringify([split, group, fields])), this.#rows * HASH_BYTES, "hex");
    this.#rows += 1;
  }

  /** SHA-256 over the sorted hashes of the rows, hex. */
  digest(): string {
    const bytes = this.#bytes;
    // The first six bytes decide nearly every comparison, as a number.
    const keys = Float64Array.from({ length: this.#rows }, (_, row) => bytes.readUIntBE(row * HASH_BYTES, 6));
    const at = (row: number): Buffer => bytes.subarray(row * HASH_BYTES, (row + 1) * HASH_BYTES);
    const order = Uint32Array.from({ length: this.#rows }, (_, row) => row);
    order.sort((left, right) => keys[left]! - keys[right]! || Buffer.compare(at(left), at(right)));
    const hash = createHash("sha256");
    for (const row of order) hash.update(`${2 * HASH_BYTES}:`).update(at(row).toString("hex"));
    return hash.digest("hex");
  }
}

/**
 * SHA-256 over the rows in canonical form (keys sorted, absent fields left out, rows sorted), hex: the same rows give the same hash in any order.
 * @throws ValidationError `input_invalid` for text that no database can hold (U+0000, half a surrogate pair), naming the row.
 */
export function contentHashOf(items: readonly DatasetItem[]): string {
  const hash = new ContentHash();
  for (const [index, item] of items.entries()) {
    const field = findUnstorable(item);
    if (field !== null) {
      const message = `Row ${index} has invalid text in ${field} (U+0000 or half a surrogate pair). Remove the row or repair it.`;
      throw new ValidationError("input_invalid", message, { details: { index, field } });
    }
    hash.add(item);
  }
  return hash.digest();
}

/** The first field whose text no database can hold; null where all can be stored. */
export function findUnstorable({ sample, group }: DatasetItem): string | null {
  const isBroken = (value: unknown): boolean => typeof value === "string" && (!isWellFormed(value) || value.includes("\u0000"));
  return isBroken(group) ? "group" : (fieldsOf(sample).find(([, value]) => isBroken(value))?.[0] ?? null);
}

function fieldsOf(sample: Sample): [string, unknown][] {
  return Object.entries(sample).filter(([, value]) => value !== undefined && value !== null);
}
