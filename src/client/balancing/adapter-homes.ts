import { createHash } from "node:crypto";
import type { Endpoint } from "./endpoint.js";

/** Adapters asked for within this time make up the working set, milliseconds. */
const WINDOW_MS = 60_000;
/** An adapter's homes may be so much busier than the average before it gets another one. */
const BOUNDED_LOAD = 1.25;

/**
 * Which endpoints an adapter is asked of. Where all adapters in use fit into every engine's slots: all of them. Else each adapter has a few
 * homes by rendezvous hashing (Thaler and Ravishankar 1998), so that engines keep the same adapters resident and a new endpoint moves
 * few of them; a home that is much busier than the average hands on to the next (bounded loads, Mirrokni et al. 2018).
 */
export class AdapterHomes {
  readonly #lastUse = new Map<string, number>();
  readonly #ranks = new Map<string, Endpoint[]>();
  #ranked: readonly Endpoint[] = [];

  /** The adapter's homes, and behind them the others in the order in which they would become homes. */
  of(adapterId: string, endpoints: readonly Endpoint[]): { homes: Endpoint[]; others: Endpoint[] } {
    const inUse = this.#inUse(adapterId);
    const order = this.#rank(adapterId, endpoints);
    const slots = endpoints.map((endpoint) => endpoint.turns.slots);
    if (inUse <= Math.min(...slots)) return { homes: order, others: [] };
    const total = slots.reduce((sum, count) => sum + count, 0);
    let count = Math.max(1, Math.min(order.length, Math.floor(total / inUse)));
    const meanLoad = endpoints.reduce((sum, endpoint) => sum + endpoint.load, 0) / endpoints.length;
    const isBusy = (endpoint: Endpoint) => endpoint.load > Math.ceil(BOUNDED_LOAD * meanLoad) + 1;
    while (count < order.length && order.slice(0, count).every(isBusy)) count += 1;
    return { homes: order.slice(0, count), others: order.slice(count) };
  }

  #inUse(adapterId: string): number {
    const now = performance.now();
    this.#lastUse.delete(adapterId);
    this.#lastUse.set(adapterId, now);
    for (const [id, usedAt] of this.#lastUse) {
      if (now - usedAt <= WINDOW_MS) break;
      this.#lastUse.delete(id);
      this.#ranks.delete(id);
    }
    return this.#lastUse.size;
  }

  #rank(adapterId: string, endpoints: readonly Endpoint[]): Endpoint[] {
    if (this.#ranked !== endpoints) {
      this.#ranks.clear();
      this.#ranked = endpoints;
    }
    let order = this.#ranks.get(adapterId);
    if (order === undefined) {
      order = endpoints
        .map((endpoint) => ({ endpoint, weight: createHash("sha256").update(`${adapterId}\n${endpoint.name}`).digest("hex") }))
        .sort((left, right) => (left.weight < right.weight ? 1 : -1))
        .map(({ endpoint }) => endpoint);
      this.#ranks.set(adapterId, order);
    }
    return order;
  }
}
