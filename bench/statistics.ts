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

/** 95 % interval of a share (0..1) of so many trials (Wilson 1927). */
export function shareInterval(count: number, trials: number): { low: number; high: number } {
  const z = 1.959964;
  const share = count / trials;
  const centre = share + z ** 2 / (2 * trials);
  const half = z * Math.sqrt((share * (1 - share)) / trials + z ** 2 / (4 * trials ** 2));
  const bound = (value: number) => Math.min(1, Math.max(0, value / (1 + z ** 2 / trials)));
  return { low: bound(centre - half), high: bound(centre + half) };
}

function seededRandom(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 48271) >>> 0) % 2147483647;
    return state / 2147483647;
  };
}

/** `5 of 6, 83 % [44, 97]`, with the 95 % interval. */
export function describeShare(count: number, trials: number): string {
  if (trials === 0) return "–";
  const { low, high } = shareInterval(count, trials);
  const percent = (value: number) => (100 * value).toFixed(0);
  return `${count} of ${trials}, ${percent(count / trials)} % [${percent(low)}, ${percent(high)}]`;
}
