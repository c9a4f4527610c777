import { createHash } from "node:crypto";
import type { Endpoint } from "./endpoint.js";

/** Adapters asked for within this time make up the working set, milliseconds. */
const WINDOW_MS = 60_000;
/** Homes are given out anew when the working set has changed, and else so often, since what is popular changes too. */
const REVIEW_MS = 10_000;
/** An adapter's homes may be so much busier than the average before it gets another one. */
const BOUNDED_LOAD = 1.25;

interface Use {
  calls: number;
  lastAt: number;
}

/**
 * Which endpoints an adapter is asked of. Where all adapters in use fit into every engine's slots: all of them. Else each has a home, by
 * rendezvous hashing (Thaler and Ravishankar 1998) with as many adapters a home as it has slots (bounded loads, Mirrokni et al. 2018), so
 * that engines keep the same adapters resident and a new endpoint moves few; slots that are left go to the most popular as further homes.
 * Homes that are much busier than the average hand on to the next in line.
 */
export class AdapterHomes {
  readonly #uses = new Map<string, Use>();
  #homes = new Map<string, Endpoint[]>();
  #endpoints: readonly Endpoint[] = [];
  #reviewedAt = Number.NEGATIVE_INFINITY;

  /** The adapter's homes, and behind them the others in the order in which they would become homes. */
  of(adapterId: string, endpoints: readonly Endpoint[]): { homes: Endpoint[]; others: Endpoint[] } {
    const now = performance.now();
    const isNew = this.#note(adapterId, now);
    if (this.#uses.size <= Math.min(...endpoints.map((endpoint) => endpoint.turns.slots))) return { homes: [...endpoints], others: [] };
    if (isNew || endpoints !== this.#endpoints || now - this.#reviewedAt > REVIEW_MS) this.#review(endpoints, now);
    const order = rank(adapterId, endpoints);
    const homes = [...(this.#homes.get(adapterId) ?? order.slice(0, 1))];
    const others = order.filter((endpoint) => !homes.includes(endpoint));
    const meanLoad = endpoints.reduce((sum, endpoint) => sum + endpoint.load, 0) / endpoints.length;
    const isBusy = (endpoint: Endpoint) => endpoint.load > Math.ceil(BOUNDED_LOAD * meanLoad) + 1;
    while (others.length > 0 && homes.every(isBusy)) homes.push(others.shift()!);
    return { homes, others };
  }

  #note(adapterId: string, now: number): boolean {
    const use = this.#uses.get(adapterId);
    this.#uses.delete(adapterId);
    this.#uses.set(adapterId, { calls: (use?.calls ?? 0) + 1, lastAt: now });
    for (const [id, { lastAt }] of this.#uses) {
      if (now - lastAt <= WINDOW_MS) break;
      this.#uses.delete(id);
    }
    return use === undefined;
  }

  /** Gives every adapter a home with room, the most popular first; then further homes while there is room. */
  #review(endpoints: readonly Endpoint[], now: number): void {
    const share = Math.ceil(this.#uses.size / endpoints.length);
    const room = new Map(endpoints.map((endpoint) => [endpoint, Math.max(endpoint.turns.slots, share)]));
    const popular = [...this.#uses].sort(([left, one], [right, other]) => other.calls - one.calls || (left < right ? -1 : 1));
    const homes = new Map<string, Endpoint[]>(popular.map(([id]) => [id, []]));
    for (let round = 0; round < endpoints.length; round += 1) {
      for (const [id] of popular) {
        const own = homes.get(id)!;
        const next = rank(id, endpoints).find((endpoint) => room.get(endpoint)! > 0 && !own.includes(endpoint));
        if (next === undefined) continue;
        own.push(next);
        room.set(next, room.get(next)! - 1);
      }
    }
    this.#homes = homes;
    this.#endpoints = endpoints;
    this.#reviewedAt = now;
    // so that popularity is what it was lately
    for (const use of this.#uses.values()) use.calls /= 2;
  }
}

const weights = new WeakMap<Endpoint, Map<string, string>>();

/** Endpoints by the weight that hashing gives them for this adapter, heaviest first. */
function rank(adapterId: string, endpoints: readonly Endpoint[]): Endpoint[] {
  return endpoints
    .map((endpoint) => ({ endpoint, weight: weightOf(adapterId, endpoint) }))
    .sort((left, right) => (left.weight < right.weight ? 1 : -1))
    .map(({ endpoint }) => endpoint);
}

function weightOf(adapterId: string, endpoint: Endpoint): string {
  const known = weights.get(endpoint) ?? new Map<string, string>();
  weights.set(endpoint, known);
  const key = `${adapterId}\n${endpoint.name}`;
  let weight = known.get(key);
  if (weight === undefined) {
    weight = createHash("sha256").update(key).digest("hex").slice(0, 16);
    known.set(key, weight);
  }
  return weight;
}
