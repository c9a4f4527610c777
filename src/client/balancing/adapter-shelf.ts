import type { AdapterProof } from "../../types/proof.js";
import type { EngineDescription } from "../engines/engine.js";

/** Connections made within this time of a look at the engine are taken to lead to the same process, milliseconds: none starts faster. */
const SAME_PROCESS_MS = 500;

/**
 * What is known of the process behind an endpoint: what it says of itself, and which adapters it has shown to serve. A restarted process
 * has shown nothing yet, so whatever may be another process is looked at again before it answers for an adapter.
 */
export class AdapterShelf {
  #description: EngineDescription | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #isDoubted = true;
  #hasFailed = false;
  #processes = 0;
  readonly #proofs = new Map<string, AdapterProof | null>();
  readonly #running = new Map<string, Promise<void>>();

  /** Null before the first look. */
  get description(): EngineDescription | null {
    return this.#description;
  }

  /** True where the process may be another one than the one that was looked at. */
  get isDoubted(): boolean {
    return this.#isDoubted;
  }

  /** Counts the processes that were met here, as far as they can be told apart. */
  get process(): number {
    return this.#processes;
  }

  /** The connection broke, or leads elsewhere now. */
  doubt(): void {
    this.#isDoubted = true;
    this.#hasFailed = true;
  }

  /** A connection was opened, which after a pause may be one to a new process. */
  noteConnection(): void {
    if (performance.now() - this.#lookedAt > SAME_PROCESS_MS) this.#isDoubted = true;
  }

  /**
   * Takes down what the process says of itself; another one has shown no adapter yet. One that gives no sign of which start it is counts
   * as another after a broken connection.
   */
  look(description: EngineDescription): void {
    const isSame = description.instance === null ? !this.#hasFailed : description.instance === this.#description?.instance;
    if (!isSame || this.#description === null) {
      this.#proofs.clear();
      this.#processes += 1;
    }
    const served = new Set(description.models.map(({ id }) => id));
    for (const id of this.#proofs.keys()) if (!served.has(id)) this.#proofs.delete(id);
    this.#description = description;
    this.#lookedAt = performance.now();
    this.#isDoubted = false;
    this.#hasFailed = false;
  }

  /** True where the adapter may answer: it was shown to be served, or nothing was recorded by which it could be. */
  isReady(adapterId: string): boolean {
    return this.#proofs.has(adapterId);
  }

  proofOf(adapterId: string): AdapterProof | null {
    return this.#proofs.get(adapterId) ?? null;
  }

  ready(adapterId: string, proof: AdapterProof | null): void {
    this.#proofs.set(adapterId, proof);
  }

  forget(adapterId: string): void {
    this.#proofs.delete(adapterId);
  }

  /** It is asked for now. */
  touch(adapterId: string): void {
    const proof = this.#proofs.get(adapterId);
    if (proof === undefined) return;
    this.#proofs.delete(adapterId);
    this.#proofs.set(adapterId, proof);
  }

  /** Ids of the adapters that may answer, the one that was asked for longest ago first. */
  get readyAdapters(): string[] {
    return [...this.#proofs.keys()];
  }

  /** Runs the work unless the same runs already, whose end is then awaited. */
  async once(key: string, work: () => Promise<void>): Promise<void> {
    const running = this.#running.get(key);
    if (running !== undefined) {
      // the one that works may be aborted by its own caller; then this one works by itself
      const isDone = await running.then(
        () => true,
        () => false,
      );
      if (isDone) return;
    }
    await this.#run(key, work);
  }

  /** Runs the work when nothing else runs under its key. */
  async alone<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    // how the other work ends is its caller's business
    for (let other = this.#running.get(key); other !== undefined; other = this.#running.get(key)) await other.catch(() => undefined);
    let result: Result;
    await this.#run(key, async () => {
      result = await work();
    });
    return result!;
  }

  /** True while work runs under the key. */
  isBusy(key: string): boolean {
    return this.#running.has(key);
  }

  async #run(key: string, work: () => Promise<void>): Promise<void> {
    const own = work().finally(() => {
      if (this.#running.get(key) === own) this.#running.delete(key);
    });
    this.#running.set(key, own);
    await own;
  }
}
