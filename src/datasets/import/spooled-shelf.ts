import type { Sample } from "../../types/index.js";
import { Numbers } from "../numbers.js";
import type { SampleShelf } from "../sample-shelf.js";
import type { Spool } from "./spool.js";

/** Keeps samples in a temporary file; 8 bytes of memory a sample. */
export class SpooledShelf implements SampleShelf {
  readonly #spool: Spool;
  readonly #starts = new Numbers(Float64Array);

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  async add(sample: Sample): Promise<void> {
    this.#starts.push(this.#spool.size);
    await this.#spool.add(sample);
  }

  async at(row: number): Promise<Sample> {
    const end = row + 1 < this.#starts.length ? this.#starts.at(row + 1) : this.#spool.size;
    return this.#spool.value<Sample>(this.#starts.at(row), end);
  }

  all(): AsyncIterable<Sample> {
    return this.#spool.values<Sample>();
  }
}
