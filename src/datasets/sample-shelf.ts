import type { Sample } from "../types/index.js";

/** Samples in a fixed order, which are read again by their place: in memory, or on disk where they may be many. */
export interface SampleShelf {
  add(sample: Sample): Promise<void>;
  /** The sample that was added as the `row`th, from 0 on. */
  at(row: number): Promise<Sample>;
  all(): AsyncIterable<Sample> | Iterable<Sample>;
}

/** Keeps samples in memory. */
export class MemoryShelf implements SampleShelf {
  readonly #samples: Sample[] = [];

  async add(sample: Sample): Promise<void> {
    this.#samples.push(sample);
  }

  async at(row: number): Promise<Sample> {
    return this.#samples[row]!;
  }

  all(): Iterable<Sample> {
    return this.#samples;
  }
}
