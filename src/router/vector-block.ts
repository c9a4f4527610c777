/** Bytes of the WebAssembly function below, assembled by hand; `v128` needs the SIMD extension that every Node since 16 has. */
function assembleDotProducts(): Uint8Array<ArrayBuffer> {
  const [Q, ROW, OUT, ROWS, STRIDE, BYTES, I, A] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
  const get = (local: number): number[] => [0x20, local];
  const set = (local: number): number[] => [0x21, local];
  const zero = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];
  const addFloats = [0xfd, 0xe4, 0x01];
  const load = (base: number, offset: number): number[] => [...get(base), ...get(I), 0x6a, 0xfd, 0x00, 0x04, offset];
  const lane = (index: number): number[] => [...get(A), 0xfd, 0x1f, index];
  const step = (accumulator: number): number[] => {
    const offset = 16 * (accumulator - A);
    return [...get(accumulator), ...load(ROW, offset), ...load(Q, offset), 0xfd, 0xe6, 0x01, ...addFloats, ...set(accumulator)];
  };
  const accumulators = [A, A + 1, A + 2, A + 3];
  const body = [
    ...[0x02, 0x01, 0x7f, 0x04, 0x7b], // locals: one i32, four v128
    ...[0x02, 0x40, 0x03, 0x40], // block, loop over rows
    ...[...get(ROWS), 0x45, 0x0d, 0x01], // leave when no row is left
    ...accumulators.flatMap((accumulator) => [...zero, ...set(accumulator)]),
    ...[0x41, 0x00, ...set(I), 0x03, 0x40], // loop over 64 bytes
    ...accumulators.flatMap(step),
    ...[...get(I), 0x41, 0xc0, 0x00, 0x6a, 0x22, I, ...get(BYTES), 0x48, 0x0d, 0x00, 0x0b],
    ...[...get(A), ...get(A + 1), ...addFloats, ...get(A + 2), ...addFloats, ...get(A + 3), ...addFloats, ...set(A)],
    ...[...get(OUT), ...lane(0), ...lane(1), 0x92, ...lane(2), ...lane(3), 0x92, 0x92, 0x38, 0x02, 0x00],
    ...[...get(OUT), 0x41, 0x04, 0x6a, ...set(OUT), ...get(ROW), ...get(STRIDE), 0x6a, ...set(ROW)],
    ...[...get(ROWS), 0x41, 0x01, 0x6b, ...set(ROWS), 0x0c, 0x00],
    ...[0x0b, 0x0b, 0x0b],
  ];
  const vector = (bytes: number[]): number[] => [...unsigned(bytes.length), ...bytes];
  const name = (text: string): number[] => vector([...Buffer.from(text)]);
  const section = (id: number, bytes: number[]): number[] => [id, ...vector(bytes)];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [1, 0x60, 6, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0]),
    ...section(2, [1, ...name("js"), ...name("memory"), 0x02, 0x00, 0x00]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name("dots"), 0x00, 0]),
    ...section(10, [1, ...vector(body)]),
  ]);
}

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** All but `rows` in bytes; of each row, `strideBytes` after the one before, the first `bytes` count. */
type DotProducts = (queryAt: number, rowsAt: number, outputAt: number, rows: number, strideBytes: number, bytes: number) => void;

/** The little of WebAssembly that is used; Node's types declare it only together with the browser's. */
const { Memory, Module, Instance } = (
  globalThis as unknown as {
    WebAssembly: {
      Memory: new (limits: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
      Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
      Instance: new (module: object, imports: { js: { memory: object } }) => { exports: { dots: DotProducts } };
    };
  }
).WebAssembly;

let compiled: object | undefined;

const PAGE_BYTES = 65_536;
/** Numbers a step of the inner loop takes. */
const STEP = 16;

/**
 * Rows of 32-bit floats in one flat block, and their dot products with a query: what the router does most. In WebAssembly with
 * SIMD, since V8 does not vectorise: a decision among a hundred adapters takes a quarter of the time that it takes with the same
 * loop in TypeScript, which misses the goal (docs/benchmarks.md).
 */
export class VectorBlock {
  readonly dimensions: number;
  readonly rows: number;
  readonly #stride: number;
  readonly #floats: Float32Array;
  readonly #query: Float32Array;
  /** What was multiplied last, row by row; each `multiply` overwrites its rows. */
  readonly products: Float32Array;
  readonly #dots: DotProducts;
  readonly #rowsAt: number;
  readonly #outputAt: number;

  constructor(vectors: readonly ArrayLike<number>[], dimensions: number) {
    this.dimensions = dimensions;
    this.rows = vectors.length;
    this.#stride = Math.max(1, Math.ceil(dimensions / STEP)) * STEP;
    this.#rowsAt = this.#stride * 4;
    this.#outputAt = this.#rowsAt + this.rows * this.#stride * 4;
    const pages = Math.ceil((this.#outputAt + this.rows * 4) / PAGE_BYTES);
    const memory = new Memory({ initial: pages, maximum: pages });
    this.#floats = new Float32Array(memory.buffer);
    this.#query = this.#floats.subarray(0, dimensions);
    this.products = this.#floats.subarray(this.#outputAt / 4, this.#outputAt / 4 + this.rows);
    for (const [row, vector] of vectors.entries()) this.#floats.set(vector, this.#rowsAt / 4 + row * this.#stride);
    compiled ??= new Module(assembleDotProducts());
    this.#dots = new Instance(compiled, { js: { memory } }).exports.dots;
  }

  /** Rows of zeros. */
  static empty(rows: number, dimensions: number): VectorBlock {
    return new VectorBlock(
      Array.from({ length: rows }, () => []),
      dimensions,
    );
  }

  /**
   * Sets the query of the following `multiply` calls: `vector`, which may be shorter, or the direction of `vector - mean`. Answers
   * what to scale products by.
   */
  setQuery(vector: ArrayLike<number>, mean?: Float32Array): number {
    const query = this.#query;
    if (mean === undefined) {
      query.set(vector);
      query.fill(0, vector.length);
      return 1;
    }
    let squares = 0;
    for (let index = 0; index < query.length; index++) {
      const difference = vector[index]! - mean[index]!;
      query[index] = difference;
      squares += difference * difference;
    }
    return squares > 0 ? 1 / Math.sqrt(squares) : 0;
  }

  /**
   * Dot products of the query with the rows `from` to `to` (excluded): answers `products`. The numbers before `start` and from `end` on
   * must be zeros in the query or in the rows; most of them are skipped.
   */
  multiply(from = 0, to = this.rows, start = 0, end = this.dimensions): Float32Array {
    const stride = this.#stride * 4;
    const skipped = Math.floor(start / STEP) * STEP * 4;
    const bytes = Math.max(1, Math.ceil(end / STEP)) * STEP * 4 - skipped;
    if (to > from) this.#dots(skipped, this.#rowsAt + from * stride + skipped, this.#outputAt + from * 4, to - from, stride, bytes);
    return this.products;
  }

  /** Dot products of all rows with the vector; the next call overwrites them. */
  productWith(vector: ArrayLike<number>): Float32Array {
    this.setQuery(vector);
    return this.multiply();
  }

  /** Its columns as rows. */
  transposed(): VectorBlock {
    const columns = VectorBlock.empty(this.dimensions, this.rows);
    const first = columns.#rowsAt / 4;
    for (let row = 0; row < this.rows; row++) {
      const values = this.row(row);
      for (let column = 0; column < values.length; column++) columns.#floats[first + column * columns.#stride + row] = values[column]!;
    }
    return columns;
  }

  /** A row itself: writing to it changes the block. */
  row(index: number): Float32Array {
    const start = this.#rowsAt / 4 + index * this.#stride;
    return this.#floats.subarray(start, start + this.dimensions);
  }
}
