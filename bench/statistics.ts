/** Middle value; of an even count, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** Percentile bootstrap interval of the median (Efron & Tibshirani 1993), 95 %, seeded so that the same data give the same interval. */
export function medianInterval(values: readonly number[], resamples = 5_000): { low: number; high: number } {
  const random = seededRandom();
  const medians = Array.from({ length: resamples }, () =>
    median(values.map(() => values[Math.min(values.length - 1, Math.floor(random() * values.length))] as number)),
  ).sort((a, b) => a - b);
  return { low: medians[Math.floor(resamples * 0.025)] as number, high: medians[Math.ceil(resamples * 0.975) - 1] as number };
}

/** The same of the ratio of two means over the same cases, which are drawn in pairs. */
export function ratioInterval(values: readonly number[], base: readonly number[], resamples = 5_000): { low: number; high: number } {
  const random = seededRandom();
  const ratios = Array.from({ length: resamples }, () => {
    let [above, below] = [0, 0];
    for (let draw = 0; draw < values.length; draw++) {
      const index = Math.min(values.length - 1, Math.floor(random() * values.length));
      above += values[index] as number;
      below += base[index] as number;
    }
    return above / below;
  }).sort((a, b) => a - b);
  return { low: ratios[Math.floor(resamples * 0.025)] as number, high: ratios[Math.ceil(resamples * 0.975) - 1] as number };
}

function seededRandom(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 48271) >>> 0) % 2147483647;
    return state / 2147483647;
  };
}
