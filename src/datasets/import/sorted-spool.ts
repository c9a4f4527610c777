import { Spool } from "./spool.js";

/** Characters, of keys and values, that are sorted in memory at once. */
const RUN_CHARACTERS = 8 * 1024 * 1024;

interface Entry<T> {
  key: string;
  value: T;
}

/** Brings more values into order than fit into memory: sorted runs in a temporary file, then merged (Knuth, volume 3, 5.4). */
export class SortedSpool<T> {
  readonly #spool: Spool;
  readonly #runs: { start: number; end: number }[] = [];
  #gathered: { key: string; line: string }[] = [];
  #characters = 0;

  private constructor(spool: Spool) {
    this.#spool = spool;
  }

  static async open<T>(): Promise<SortedSpool<T>> {
    return new SortedSpool<T>(await Spool.open());
  }

  /** Adds a value that stands where its key does. @throws StorageError `disk_full` */
  async add(key: string, value: T): Promise<void> {
    const line = JSON.stringify({ key, value } satisfies Entry<T>);
    this.#gathered.push({ key, line });
    this.#characters += line.length + key.length;
    if (this.#characters >= RUN_CHARACTERS) await this.#endRun();
  }

  /** The values by their keys; equal keys in the order in which they came. */
  async *sorted(): AsyncGenerator<T> {
    await this.#endRun();
    const heads: { entries: AsyncGenerator<Entry<T>>; entry: Entry<T> }[] = [];
    for (const { start, end } of this.#runs) {
      const entries = this.#spool.values<Entry<T>>(start, end);
      const first = await entries.next();
      if (!first.done) heads.push({ entries, entry: first.value });
    }
    while (heads.length > 0) {
      let least = 0;
      for (let index = 1; index < heads.length; index += 1) if (heads[index]!.entry.key < heads[least]!.entry.key) least = index;
      const head = heads[least]!;
      yield head.entry.value;
      const next = await head.entries.next();
      if (next.done) heads.splice(least, 1);
      else head.entry = next.value;
    }
  }

  async close(): Promise<void> {
    await this.#spool.close();
  }

  async #endRun(): Promise<void> {
    if (this.#gathered.length === 0) return;
    this.#gathered.sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0));
    const start = this.#spool.size;
    for (const { line } of this.#gathered) await this.#spool.write(Buffer.from(`${line}\n`));
    this.#runs.push({ start, end: this.#spool.size });
    [this.#gathered, this.#characters] = [[], 0];
  }
}
