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
 * 0..1, in SQL over a row `scored` and a row `weights`: the mean by weight of what the legs say, one that did not find the chunk counting 0.
 * Weighted, a leg says its score; RRF, 61 / (60 + rank), so that first place in every leg is 1.
 */
export function fusedScore(fusion: SearchFusion): RawBuilder<number> {
  const perLeg = LEGS.map((leg) => {
    const [weight, score, rank] = [sql.ref(`weights.${leg}`), sql.ref(`scored.${leg}`), sql.ref(`scored.${leg}_rank`)];
    const said = fusion === "weighted" ? score : sql`${RANK_OFFSET + 1}::double precision / (${RANK_OFFSET}::integer + ${rank})`;
    return { value: sql`${weight} * coalesce(${said}, 0)`, weight };
  });
  const sum = (values: RawBuilder<unknown>[]) => sql.join(values, sql` + `);
  return sql<number>`(${sum(perLeg.map(({ value }) => value))}) / nullif(${sum(perLeg.map(({ weight }) => weight))}, 0)`;
}

/** What a rank, from 1 on, says by RRF: 1 for the first place. */
export function rankScore(rank: number): number {
  return (RANK_OFFSET + 1) / (RANK_OFFSET + rank);
}

/** The same in TypeScript, for tuning. */
export function fuse(findings: Findings, fusion: SearchFusion, weights: LegWeights): number {
  let sum = 0;
  let total = 0;
  for (const leg of LEGS) {
    const { score, rank } = findings[leg];
    const said = fusion === "weighted" ? score : rank === null ? null : rankScore(rank);
    sum += weights[leg] * (said ?? 0);
    total += weights[leg];
  }
  return total === 0 ? 0 : sum / total;
}
