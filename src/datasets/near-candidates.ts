import { Numbers } from "./numbers.js";
import { BANDS } from "./shingles.js";

/** Rows that can be told apart: a 32-bit hash and a row share the 53 bits of a number. */
export const MOST_ROWS = 2 ** 21;
const NONE = 0xffffffff;

/**
 * Which rows share a bucket of a MinHash band, and so have to be compared, in 64 bytes a row and some more for those that share one. First all rows are added; then,
 * row by row, one asks for candidates among those that were kept so far.
 */
export class NearCandidates {
  readonly #buckets = new Numbers(Uint32Array);
  /** Per bucket the kept row that came last; per link the row and the link before it. */
  readonly #lastLink = new Numbers(Uint32Array);
  readonly #linkedRow = new Numbers(Uint32Array);
  readonly #linkBefore = new Numbers(Uint32Array);
  #rows = 0;

  /** How many rows were added. */
  get rows(): number {
    return this.#rows;
  }

  /** Adds the next row by the hashes of its bands. */
  add(hashes: Uint32Array): void {
    for (const hash of hashes) this.#buckets.push(hash);
    this.#rows += 1;
  }

  /** Turns hashes into buckets: from here on no row is added. */
  seal(): void {
    const order = new Float64Array(this.#rows);
    for (let band = 0; band < BANDS; band += 1) {
      for (let row = 0; row < this.#rows; row += 1) order[row] = this.#buckets.at(row * BANDS + band) * MOST_ROWS + row;
      order.sort();
      for (let start = 0; start < this.#rows; ) {
        const hash = Math.floor(order[start]! / MOST_ROWS);
        let end = start + 1;
        while (end < this.#rows && Math.floor(order[end]! / MOST_ROWS) === hash) end += 1;
        // Most rows are alone; they need no bucket.
        const bucket = end - start > 1 ? this.#lastLink.length : NONE;
        if (bucket !== NONE) this.#lastLink.push(NONE);
        for (; start < end; start += 1) this.#buckets.set((order[start]! % MOST_ROWS) * BANDS + band, bucket);
      }
    }
  }

  /** Kept rows that share a bucket with the row, each once. */
  of(row: number): Set<number> {
    const found = new Set<number>();
    for (let band = 0; band < BANDS; band += 1) {
      const bucket = this.#buckets.at(row * BANDS + band);
      if (bucket === NONE) continue;
      for (let link = this.#lastLink.at(bucket); link !== NONE; link = this.#linkBefore.at(link)) found.add(this.#linkedRow.at(link));
    }
    return found;
  }

  /** Makes the row a candidate for those that follow. */
  keep(row: number): void {
    for (let band = 0; band < BANDS; band += 1) {
      const bucket = this.#buckets.at(row * BANDS + band);
      if (bucket === NONE) continue;
      this.#linkedRow.push(row);
      this.#linkBefore.push(this.#lastLink.at(bucket));
      this.#lastLink.set(bucket, this.#linkedRow.length - 1);
    }
  }
}
