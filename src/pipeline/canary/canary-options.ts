import { ConfigurationError } from "../../errors.js";

/** How a version that passed the gate is tried on users before it serves its domain. */
export interface CanaryOptions {
  /**
   * `auto` (default): where the domain's ratings of the last `limitMs` let one expect `minRatings` of the canary within its limit; with
   * fewer the trial could not end, and the version serves at once. `always`, `never`.
   */
  start: "auto" | "always" | "never";
  /** Share of the users that gets the canary, above 0 and below 1. Default .1. */
  share: number;
  /** Milliseconds after which an undecided canary ends and the incumbent stays. Default 7 days. */
  limitMs: number;
  /** Ratings of the canary that `auto` must expect. Default 100. */
  minRatings: number;
  /** Chance of promoting a version that is not better, and that of rolling one back that is not worse. Default .05. */
  alpha: number;
  /**
   * Mean rating (0..1) by which the canary must be above the incumbent's to be promoted; below 0: by how much it may be under it. Default 0.
   */
  minGain: number;
  /** Share of failed calls (0..1) that the canary may have above the incumbent's. Default .02. */
  failureMargin: number;
  /** A call is slow from this multiple of the incumbent's median before the canary. Default 1.5. */
  slowFactor: number;
  /** Share of slow calls (0..1) that the canary may have above the incumbent's. Default .1. */
  slowMargin: number;
}

/** The canary's defaults. */
export const CANARY_DEFAULTS = Object.freeze({
  start: "auto",
  share: 0.1,
  limitMs: 7 * 24 * 3_600_000,
  minRatings: 100,
  alpha: 0.05,
  minGain: 0,
  failureMargin: 0.02,
  slowFactor: 1.5,
  slowMargin: 0.1,
}) satisfies CanaryOptions;

/** Refuses what cannot work. */
export function checkCanaryOptions(options: CanaryOptions): CanaryOptions {
  between("share", options.share, 0, 1);
  between("alpha", options.alpha, 0, 0.5);
  between("minGain", options.minGain, -1, 1);
  between("limitMs", options.limitMs, 0, Number.POSITIVE_INFINITY);
  between("slowFactor", options.slowFactor, 1, Number.POSITIVE_INFINITY);
  if (["auto", "always", "never"].includes(options.start)) return options;
  throw new ConfigurationError("config_invalid", `pipeline.canary.start is ${options.start}; give "auto", "always" or "never".`);
}

function between(name: string, value: number, low: number, high: number): void {
  if (value > low && value < high) return;
  throw new ConfigurationError("config_invalid", `pipeline.canary.${name} is ${value}; it must be above ${low} and below ${high}.`);
}
