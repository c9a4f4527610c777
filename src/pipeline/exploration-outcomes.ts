import { sql } from "kysely";
import type { Store } from "../store/store.js";

/** How long an outcome counts. */
const SPAN_MS = 90 * 24 * 3_600_000;

/**
 * What rated answers say of decisions that the router left to chance, over all processes and restarts; it is given as `outcomes` to
 * `AdapterRouter`. Of ratings of one answer the last counts.
 * @example
 * ```ts
 * const router = new AdapterRouter({ registry: new SqlAdapterRegistry({ store }), outcomes: new ExplorationOutcomes({ store }) });
 * ```
 */
export class ExplorationOutcomes {
  readonly #store: Pick<Store, "db">;

  constructor({ store }: { store: Pick<Store, "db"> }) {
    this.#store = store;
  }

  /**
   * Outcomes by adapter; null is the base model.
   * @example
   * ```ts
   * const [first] = await new ExplorationOutcomes({ store }).load();
   * ```
   */
  async load(): Promise<{ adapterId: string | null; count: number; rewardSum: number }[]> {
    const { rows } = await sql<{ adapterId: string | null; count: number; rewardSum: number }>`
      with explored as (
        select id, adapter_id from clara.generations
        where (decision ->> 'propensity')::double precision < 1 and created_at >= ${new Date(Date.now() - SPAN_MS)}
      ),
      rated as (
        select distinct on (explored.id) explored.adapter_id, (feedback.rating + 1) / 2 as reward
        from explored join clara.feedback feedback on feedback.generation_id = explored.id
        where feedback.status in ('accepted', 'duplicate')
        order by explored.id, feedback.created_at desc
      )
      select adapter_id as "adapterId", count(*)::int as count, sum(reward) as "rewardSum" from rated group by adapter_id`.execute(
      this.#store.db,
    );
    return rows;
  }
}
