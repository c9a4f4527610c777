import { setTimeout as delay } from "node:timers/promises";

/** An adapter that the stand-in knows. */
export interface StandInAdapter {
  /** Name under which requests ask for it. */
  id: string;
  path: string;
}

/**
 * Registered adapters, of which `slots` are resident, as in vLLM with `--max-loras`: a request for one that is not resident waits for a slot
 * that no running request uses, takes the least recently used one, and waits `loadTimeMs` for its weights. Loads follow one another, and
 * while one runs no token is made: the engine loads between two of its steps.
 */
export class AdapterSlots {
  private readonly known = new Map<string, StandInAdapter>();
  /** Running requests by resident adapter; least recently used first. */
  private readonly resident = new Map<string, number>();
  private waiting: (() => void)[] = [];
  private loading: Promise<void> = Promise.resolve();
  private adding = 0;
  /** How often an adapter was brought into a slot. */
  loads = 0;

  readonly slots: number;
  readonly loadTimeMs: number;
  private readonly maxAdapters: number;

  constructor(slots: number, loadTimeMs: number, maxAdapters: number) {
    this.slots = slots;
    this.loadTimeMs = loadTimeMs;
    this.maxAdapters = maxAdapters;
  }

  /** True where no other adapter may be registered. */
  get isFull(): boolean {
    return this.known.size + this.adding >= this.maxAdapters;
  }

  get(id: string): StandInAdapter | undefined {
    return this.known.get(id);
  }

  list(): StandInAdapter[] {
    return [...this.known.values()];
  }

  residentIds(): string[] {
    return [...this.resident.keys()];
  }

  /** Loads an adapter for the first time, and registers it then. */
  async add(adapter: StandInAdapter): Promise<void> {
    this.adding += 1;
    (await this.use(adapter.id))();
    this.adding -= 1;
    this.known.set(adapter.id, adapter);
  }

  remove(id: string): boolean {
    this.resident.delete(id);
    this.admitWaiting();
    return this.known.delete(id);
  }

  /** Resolves when the adapter is in a slot; call what it gives when the request has ended. */
  async use(id: string): Promise<() => void> {
    while (!this.takeSlot(id)) await new Promise<void>((resolve) => this.waiting.push(resolve));
    await this.loading;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      const running = this.resident.get(id);
      if (running !== undefined) this.resident.set(id, running - 1);
      this.admitWaiting();
    };
  }

  clear(): void {
    this.known.clear();
    this.resident.clear();
    this.admitWaiting();
  }

  /** Resolves when no adapter is being loaded. */
  idle(): Promise<void> {
    return this.loading;
  }

  private takeSlot(id: string): boolean {
    const running = this.resident.get(id);
    if (running === undefined && this.resident.size >= this.slots) {
      const idle = [...this.resident].find(([, requests]) => requests === 0);
      if (idle === undefined) return false;
      this.resident.delete(idle[0]);
    }
    this.resident.delete(id);
    this.resident.set(id, (running ?? 0) + 1);
    if (running === undefined) this.load();
    return true;
  }

  private load(): void {
    this.loads += 1;
    if (this.loadTimeMs > 0) this.loading = this.loading.then(() => delay(this.loadTimeMs));
  }

  private admitWaiting(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const look of waiting) look();
  }
}
