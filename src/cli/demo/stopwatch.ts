/** Seconds by name, of whatever was timed. */
export class Stopwatch {
  readonly seconds: Record<string, number> = {};
  readonly #startedAt = performance.now();

  async time<T>(name: string, work: () => Promise<T>): Promise<T> {
    const from = performance.now();
    try {
      return await work();
    } finally {
      this.add(name, (performance.now() - from) / 1000);
    }
  }

  add(name: string, seconds: number): void {
    this.seconds[name] = (this.seconds[name] ?? 0) + seconds;
  }

  /** Seconds since it was made. */
  get total(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }
}
