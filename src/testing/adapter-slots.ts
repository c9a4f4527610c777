import { setTimeout as delay } from "node:timers/promises";

/** An adapter that the stand-in knows. */
export interface StandInAdapter {
  /** Name under which requests ask for it. */
  id: string;
  path: string;
}

/**
 * Registered adapters, of which `slots` are resident: the least recently used makes room, and a request for one that
 * is not resident waits `loadTimeMs`, as in vLLM with `--max-loras`.
 */
export class AdapterSlots {
  private readonly known = new Map<string, StandInAdapter>();
  /** Least recently used first. */
  private readonly resident = new Map<string, Promise<void>>();
  /** How often an adapter was brought into a slot. */
  loads = 0;

  readonly slots: number;
  readonly loadTimeMs: number;

  constructor(slots: number, loadTimeMs: number) {
    this.slots = slots;
    this.loadTimeMs = loadTimeMs;
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

  async add(adapter: StandInAdapter): Promise<void> {
    await this.touch(adapter.id);
    this.known.set(adapter.id, adapter);
  }

  remove(id: string): boolean {
    this.resident.delete(id);
    return this.known.delete(id);
  }

  /** Resolves when the adapter is in a slot. */
  async touch(id: string): Promise<void> {
    const loading = this.resident.get(id) ?? this.load();
    this.resident.delete(id);
    this.resident.set(id, loading);
    for (const oldest of this.resident.keys()) {
      if (this.resident.size <= this.slots) break;
      this.resident.delete(oldest);
    }
    await loading;
  }

  clear(): void {
    this.known.clear();
    this.resident.clear();
  }

  private load(): Promise<void> {
    this.loads += 1;
    return this.loadTimeMs === 0 ? Promise.resolve() : delay(this.loadTimeMs);
  }
}
