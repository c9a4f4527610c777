/** 32-bit words that are kept of a hash: two of 2^21 texts share 128 bits with a probability of 10^-26. */
const WORDS = 4;
const EMPTY = 0xffffffff;

/** Numbers distinct texts by their hashes, from 0 on in the order in which they come; some 30 bytes a text, however long it is. */
export class HashNumbers {
  #words = new Uint32Array(256 * WORDS);
  #slots = new Uint32Array(512).fill(EMPTY);
  #size = 0;

  /** How many distinct texts came. */
  get size(): number {
    return this.#size;
  }

  /** The number of a text by its hash (hex, 32 digits or more); a new one gets the next. */
  numberOf(hash: string): number {
    const words = [0, 8, 16, 24].map((start) => Number.parseInt(hash.slice(start, start + 8), 16)) as [number, number, number, number];
    if (2 * (this.#size + 1) > this.#slots.length) this.#grow();
    let slot = words[0] & (this.#slots.length - 1);
    for (; this.#slots[slot] !== EMPTY; slot = (slot + 1) & (this.#slots.length - 1)) {
      const number = this.#slots[slot]!;
      if (words.every((word, index) => this.#words[number * WORDS + index] === word)) return number;
    }
    this.#slots[slot] = this.#size;
    this.#words.set(words, this.#size * WORDS);
    this.#size += 1;
    return this.#size - 1;
  }

  /** The first 32 digits of the hash of a number. */
  hashOf(number: number): string {
    return [...this.#words.subarray(number * WORDS, (number + 1) * WORDS)].map((word) => word.toString(16).padStart(8, "0")).join("");
  }

  #grow(): void {
    const words = new Uint32Array(this.#slots.length * WORDS);
    words.set(this.#words.subarray(0, this.#size * WORDS));
    this.#words = words;
    this.#slots = new Uint32Array(this.#slots.length * 2).fill(EMPTY);
    for (let number = 0; number < this.#size; number += 1) {
      let slot = this.#words[number * WORDS]! & (this.#slots.length - 1);
      while (this.#slots[slot] !== EMPTY) slot = (slot + 1) & (this.#slots.length - 1);
      this.#slots[slot] = number;
    }
  }
}
