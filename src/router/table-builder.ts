import { AbortedError } from "../errors.js";
import type { Adapter } from "../types/adapter.js";
import type { Embedder } from "../types/common.js";
import { type AdapterProfile, profileAdapter } from "./adapter-profile.js";
import { type Background, prepareBackground } from "./background.js";
import { fitProbes } from "./linear-probes.js";
import { RoutingTable } from "./routing-table.js";
import { calibrateTable } from "./table-calibration.js";

/** Texts an embedder gets at once while a table is built. */
const BATCH = 64;
/** Profiles kept for adapters that may come back by a rollback. */
const MAX_IDLE_PROFILES = 64;

/** Builds routing tables off the hot path; what it learnt of an adapter's examples is kept, since adapters are immutable. */
export class TableBuilder {
  readonly #embedder: Embedder;
  readonly #profiles = new Map<string, AdapterProfile | null>();
  #background: Background | null = null;

  constructor(embedder: Embedder) {
    this.#embedder = embedder;
  }

  /** A calibrated table of these adapters, which are some of the live ones. Rejects with what the embedder rejects with. */
  async build(
    adapters: readonly Adapter[],
    { signal, live = adapters }: { signal?: AbortSignal; live?: readonly Adapter[] } = {},
  ): Promise<RoutingTable> {
    const embed = (texts: readonly string[]): Promise<number[][]> => this.#embed(texts, signal);
    this.#background ??= await prepareBackground(embed);
    for (const adapter of adapters) {
      if (!this.#profiles.has(adapter.id)) this.#profiles.set(adapter.id, await profileAdapter(adapter, this.#background, embed));
    }
    this.#forgetIdle(new Set(live.map(({ id }) => id)));
    const profiles = adapters.map(({ id }) => this.#profiles.get(id)!).filter((profile) => profile !== null);
    profiles.sort((left, right) => (left.id < right.id ? -1 : 1));
    const probes = await fitProbes(profiles, this.#background.mean.length);
    const table = new RoutingTable(profiles, probes.rows, this.#background);
    await calibrateTable(table, probes);
    if (signal?.aborted) throw new AbortedError("Building the routing table was aborted.", { cause: signal.reason });
    return table;
  }

  async #embed(texts: readonly string[], signal?: AbortSignal): Promise<number[][]> {
    const vectors: number[][] = [];
    for (let start = 0; start < texts.length; start += BATCH) {
      vectors.push(...(await this.#embedder.embed(texts.slice(start, start + BATCH), { signal })));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return vectors;
  }

  #forgetIdle(wanted: ReadonlySet<string>): void {
    const idle = [...this.#profiles.keys()].filter((id) => !wanted.has(id));
    for (const id of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_PROFILES))) this.#profiles.delete(id);
  }
}
