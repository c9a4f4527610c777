import { AdapterHomes } from "./adapter-homes.js";
import type { Endpoint } from "./endpoint.js";

/** The endpoints of a client, and in which order a call tries them. They may come and go while calls run. */
export class EndpointPool {
  #endpoints: readonly Endpoint[];
  readonly #homes = new AdapterHomes();
  readonly #lastChosen = new WeakMap<Endpoint, number>();
  #choices = 0;
  readonly #random: () => number;

  constructor(endpoints: readonly Endpoint[], random: () => number = Math.random) {
    this.#endpoints = endpoints;
    this.#random = random;
  }

  get all(): readonly Endpoint[] {
    return this.#endpoints;
  }

  add(endpoint: Endpoint): void {
    this.#endpoints = [...this.#endpoints, endpoint];
  }

  remove(endpoint: Endpoint): void {
    this.#endpoints = this.#endpoints.filter((one) => one !== endpoint);
  }

  /**
   * Every endpoint once, best first: of the adapter's homes that are well the less busy of two drawn at random (power of two choices,
   * Mitzenmacher 2001), then the other homes, then the rest; those that are ill last.
   */
  inOrder(adapterId: string | null): readonly Endpoint[] {
    const endpoints = this.#endpoints;
    if (endpoints.length === 1) return endpoints;
    const { homes, others } = adapterId === null ? { homes: [...endpoints], others: [] } : this.#homes.of(adapterId, endpoints);
    const isWell = (endpoint: Endpoint) => endpoint.circuit.letsThrough;
    const well = homes.filter(isWell);
    const first = this.#lessBusyOfTwo(well);
    const rest = well.filter((endpoint) => endpoint !== first).sort((left, right) => left.load - right.load);
    const ill = [...homes, ...others].filter((endpoint) => !isWell(endpoint));
    return [...(first === undefined ? [] : [first]), ...rest, ...others.filter(isWell), ...ill];
  }

  #lessBusyOfTwo(endpoints: readonly Endpoint[]): Endpoint | undefined {
    const count = endpoints.length;
    if (count === 0) return undefined;
    const one = Math.floor(this.#random() * count);
    const other = (one + 1 + Math.floor(this.#random() * (count - 1))) % count;
    const [left, right] = [endpoints[Math.min(one, other)]!, endpoints[Math.max(one, other)]!];
    const chosen = left.load === right.load ? this.#longerAgo(left, right) : left.load < right.load ? left : right;
    this.#choices += 1;
    this.#lastChosen.set(chosen, this.#choices);
    return chosen;
  }

  #longerAgo(left: Endpoint, right: Endpoint): Endpoint {
    return (this.#lastChosen.get(left) ?? 0) <= (this.#lastChosen.get(right) ?? 0) ? left : right;
  }
}
