import { type RawBuilder, sql } from "kysely";
import type { SearchFusion, SearchType } from "../../types/index.js";

/** Of reciprocal rank fusion: how little the first places differ (Cormack et al. 2009). */
const RANK_OFFSET = 60;

/** What a leg said of a chunk; `rank` from 1 on, null where it did not find it. */
export interface LegFinding {
  score: number | null;
  rank: number | null;
}

/** One chunk before the fusion. */
export type Findings = Record<SearchType, LegFinding>;

/** Weight of each leg, 0 for one that was not asked for or has nothing to say. */
export type LegWeights = Record<SearchType, number>;

const LEGS = ["keyword", "vector", "graph"] as const satisfies SearchType[];

/**
 * 0..1, in SQL over a row `scored` and a row `weights`. Weighted: mean of the scores by weight, a leg that did not find the chunk counting 0.
 * RRF: mean of 61 / (60 + rank) over the legs, so that first place in every leg is 1.
 */
export function fusedScore(fusion: SearchFusion): RawBuilder<number> {
  const perLeg = LEGS.map((leg) => {
    const [weight, score, rank] = [sql.ref(`weights.${leg}`), sql.ref(`scored.${leg}`), sql.ref(`scored.${leg}_rank`)];
    if (fusion === "weighted") return { value: sql`${weight} * coalesce(${score}, 0)`, weight };
    const counts = sql`case when ${weight} > 0 then 1 else 0 end`;
    return {
      value: sql`${counts} * coalesce(${RANK_OFFSET + 1}::double precision / (${RANK_OFFSET}::integer + ${rank}), 0)`,
      weight: counts,
    };
  });
  const sum = (values: RawBuilder<unknown>[]) => sql.join(values, sql` + `);
  return sql<number>`(${sum(perLeg.map(({ value }) => value))}) / nullif(${sum(perLeg.map(({ weight }) => weight))}, 0)`;
}

/** The same in TypeScript, for tuning. */
export function fuse(findings: Findings, fusion: SearchFusion, weights: LegWeights): number {
  let sum = 0;
  let total = 0;
  for (const leg of LEGS) {
    const { score, rank } = findings[leg];
    if (weights[leg] <= 0) continue;
    const weight = fusion === "weighted" ? weights[leg] : 1;
    sum += fusion === "weighted" ? weight * (score ?? 0) : rank === null ? 0 : (RANK_OFFSET + 1) / (RANK_OFFSET + rank);
    total += weight;
  }
  return total === 0 ? 0 : sum / total;
}
