import { ValidationError } from "../errors.js";
import type { DatasetItem } from "../types/index.js";
import { hashOf, isWellFormed } from "./text-normalisation.js";

/**
 * SHA-256 over the rows in canonical form (keys sorted, absent fields left out, rows sorted), hex: the same rows give the same hash in any order.
 * @throws ValidationError `input_invalid` for text that no database can hold (U+0000, half a surrogate pair), naming the row.
 */
export function contentHashOf(items: readonly DatasetItem[]): string {
  const rows = items.map((item, index) => {
    const { sample, split, group } = item;
    const fields = Object.entries(sample).filter(([, value]) => value !== undefined && value !== null);
    for (const [field, value] of fields) {
      if (typeof value === "string" && (!isWellFormed(value) || value.includes("\u0000"))) {
        throw new ValidationError(
          "input_invalid",
          `Row ${index} has invalid text in ${field} (U+0000 or half a surrogate pair). Remove the row or repair it.`,
          {
            details: { index, field },
          },
        );
      }
    }
    return hashOf(JSON.stringify([split, group, fields.sort(([left], [right]) => (left < right ? -1 : 1))]));
  });
  return hashOf(...rows.sort());
}
