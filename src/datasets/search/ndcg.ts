/**
 * Normalised discounted cumulative gain of the first `depth` places (Järvelin & Kekäläinen 2002), 0..1; gains are linear.
 * @example
 * ```ts
 * ndcg(["b", "a"], new Map([["a", 1]]), 10); // 0.63
 * ```
 */
export function ndcg(ranked: readonly string[], gains: ReadonlyMap<string, number>, depth: number): number {
  const discounted = (values: readonly number[]) => values.reduce((sum, gain, place) => sum + gain / Math.log2(place + 2), 0);
  const ideal = discounted([...gains.values()].sort((left, right) => right - left).slice(0, depth));
  return ideal === 0 ? 0 : discounted(ranked.slice(0, depth).map((id) => gains.get(id) ?? 0)) / ideal;
}
