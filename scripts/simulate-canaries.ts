/**
 * Shows how often trials of canaries err, and how many ratings they take: simulated people rate simulated answers good or bad, and the
 * trial is looked at after every rating. Beside it what many would write: a z-test of two shares at 5 %, looked at as often.
 *
 *   npm run simulate:canaries -- [--runs 400] [--ratings 5000] [--seed 1]
 */
import { parseArgs } from "node:util";
import { shareInterval } from "../bench/statistics.js";
import { CanaryTrial } from "../src/pipeline/canary/canary-trial.js";
import { CANARY_DEFAULTS } from "../src/pipeline/index.js";
import { seededRandom } from "../src/support/seeded-random.js";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "400" },
    ratings: { type: "string", default: "5000" },
    seed: { type: "string", default: "1" },
  },
});
const runs = Number(values.runs);
const ratings = Number(values.ratings);
const firstSeed = Number(values.seed);

/** Chances of a good rating of incumbent and canary. */
const WORLDS = [
  { name: "much better", incumbent: 0.6, canary: 0.9 },
  { name: "better", incumbent: 0.6, canary: 0.8 },
  { name: "a little better", incumbent: 0.6, canary: 0.7 },
  { name: "equal", incumbent: 0.6, canary: 0.6 },
  { name: "equal, both good", incumbent: 0.9, canary: 0.9 },
  { name: "equal, both bad", incumbent: 0.2, canary: 0.2 },
  { name: "a little worse", incumbent: 0.6, canary: 0.5 },
  { name: "worse", incumbent: 0.6, canary: 0.4 },
  { name: "broken", incumbent: 0.6, canary: 0.05 },
];

interface End {
  status: "promoted" | "rolled_back" | "kept";
  /** Ratings of the canary until then. */
  canaryRatings: number;
}

type World = (typeof WORLDS)[number] & { share: number };

function* people({ incumbent, canary, share }: World, seed: number): Generator<{ isCanary: boolean; value: 0 | 1 }> {
  const random = seededRandom(seed);
  for (let count = 0; count < ratings; count++) {
    const isCanary = random() < share;
    yield { isCanary, value: random() < (isCanary ? canary : incumbent) ? 1 : 0 };
  }
}

function trial(world: World, seed: number): End {
  const trial = new CanaryTrial(CANARY_DEFAULTS, null);
  for (const { isCanary, value } of people(world, seed)) {
    trial.observe({ arm: isCanary ? "canary" : "incumbent", kind: "rating", value });
    const verdict = trial.verdict();
    if (verdict !== null) return { status: verdict.status, canaryRatings: trial.evidence().canary.ratings };
  }
  return { status: "kept", canaryRatings: trial.evidence().canary.ratings };
}

function peekedZTest(world: World, seed: number): End {
  const incumbent = { count: 0, good: 0 };
  const canary = { count: 0, good: 0 };
  for (const { isCanary, value } of people(world, seed)) {
    const arm = isCanary ? canary : incumbent;
    arm.count++;
    arm.good += value;
    if (incumbent.count < 10 || canary.count < 10) continue;
    const pooled = (incumbent.good + canary.good) / (incumbent.count + canary.count);
    const error = Math.sqrt(pooled * (1 - pooled) * (1 / incumbent.count + 1 / canary.count));
    const z = (canary.good / canary.count - incumbent.good / incumbent.count) / error;
    if (Math.abs(z) > 1.645) return { status: z > 0 ? "promoted" : "rolled_back", canaryRatings: canary.count };
  }
  return { status: "kept", canaryRatings: canary.count };
}

/** A share with its 95 % interval. */
function interval(count: number): string {
  const { low, high } = shareInterval(count, runs);
  return `${((100 * count) / runs).toFixed(1)} % [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
}

console.log(`${runs} trials each, up to ${ratings} ratings, alpha ${CANARY_DEFAULTS.alpha}, seed ${firstSeed}\n`);
console.log(
  "| share | canary is | good ratings | promoted | rolled back | kept | ratings of the canary, median | z-test: promoted | rolled back |",
);
console.log("|---|---|---|---|---|---|---|---|---|");
for (const share of [0.1, 0.5]) {
  for (const world of WORLDS) {
    const ends: End[] = [];
    const peeked: End[] = [];
    for (let run = 0; run < runs; run++) {
      const seed = firstSeed * 1_000_003 + run;
      ends.push(trial({ ...world, share }, seed));
      peeked.push(peekedZTest({ ...world, share }, seed));
    }
    const count = (of: readonly End[], status: End["status"]) => of.filter((end) => end.status === status).length;
    const decided = ends.filter(({ status }) => status !== "kept").map(({ canaryRatings }) => canaryRatings);
    const median = decided.sort((left, right) => left - right)[decided.length >> 1];
    const cells = [
      `${100 * share} %`,
      world.name,
      `${world.canary} against ${world.incumbent}`,
      interval(count(ends, "promoted")),
      interval(count(ends, "rolled_back")),
      `${((100 * count(ends, "kept")) / runs).toFixed(1)} %`,
      median ?? "–",
      `${((100 * count(peeked, "promoted")) / runs).toFixed(1)} %`,
      `${((100 * count(peeked, "rolled_back")) / runs).toFixed(1)} %`,
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}
