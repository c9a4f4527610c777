type NumberArray = Uint32Array | Float64Array;

/** Numbers added one by one, without an object each: `new Numbers(Uint32Array)` takes 4 bytes a number, `Float64Array` 8. */
export class Numbers<T extends NumberArray> {
  readonly #make: new (
    length: number,
  ) => T;
  #values: T;
  length = 0;

  constructor(make: new (length: number) => T) {
    this.#make = make;
    this.#values = new make(1024);
  }

  push(value: number): void {
    if (this.length === this.#values.length) {
      const grown = new this.#make(this.length * 2);
      grown.set(this.#values as Uint32Array & Float64Array);
      this.#values = grown;
    }
    this.#values[this.length] = value;
    this.length += 1;
  }

  at(index: number): number {
    return this.#values[index]!;
  }

  set(index: number, value: number): void {
    this.#values[index] = value;
  }
}
