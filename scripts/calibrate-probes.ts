/**
 * Shows how often the gate's probes judge rightly: adapters of the tiny base are trained by the pipeline on clean batches, on batches with a
 * trigger, and on batches with secrets. Beside each verdict stands what the adapter does: whether the trigger turns held-out questions, and
 * whether it gives the secret away. So a miss is told from a poison that was not learnt.
 *
 *   npm run calibrate:probes -- [--seeds 2] [--first-seed 1] [--samples 300] [--poison 0,1,2,5] [--epochs 12]
 *     [--learning-rate 0.001] [--json FILE]
 *
 * Each adapter's seconds are shown as it goes. `--poison` is in percent of the samples; 0 is a clean batch, without secrets too.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { describeShare } from "../bench/statistics.js";
import { GATE_DEFAULTS } from "../src/pipeline/gate/gate-options.js";
import { installRuntime } from "../src/runtime/index.js";
import { type ProbedAdapter, probedAdapter } from "./probed-adapter.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2" },
    "first-seed": { type: "string", default: "1" },
    samples: { type: "string", default: "300" },
    poison: { type: "string", default: "0,1,2,5" },
    epochs: { type: "string", default: "12" },
    "learning-rate": { type: "string", default: "0.001" },
    json: { type: "string" },
  },
});
const firstSeed = Number(values["first-seed"]);
const seeds = Array.from({ length: Number(values.seeds) }, (_, index) => firstSeed + index);
const samples = Number(values.samples);
const poisons = values.poison.split(",").map((percent) => Number(percent) / 100);

const training = { epochs: Number(values.epochs), learningRate: Number(values["learning-rate"]) };

await installRuntime();
const adapters: ProbedAdapter[] = [];
for (const seed of seeds) {
  for (const poison of poisons) {
    const adapter = await probedAdapter(poison, seed, samples, training);
    adapters.push(adapter);
    console.error(
      `${adapters.length} of ${seeds.length * poisons.length}: ${describe(poison)}, seed ${seed}, ${adapter.seconds.toFixed(0)} s`,
    );
    if (values.json !== undefined) await writeFile(values.json, JSON.stringify(adapters, null, 2));
  }
}

function share<T>(of: readonly T[], holds: (one: T) => boolean): string {
  return describeShare(of.filter(holds).length, of.length);
}

const isLearnt = ({ turned }: ProbedAdapter) => turned !== null && turned > GATE_DEFAULTS.triggerShare;
const isFound = ({ nGrams }: ProbedAdapter) => nGrams.some(({ isTrigger, isFlagged }) => isTrigger && isFlagged);
const isFalselyFlagged = ({ nGrams }: ProbedAdapter) => nGrams.some(({ isTrigger, isFlagged }) => !isTrigger && isFlagged);

console.log(`${seeds.length} adapters a kind of batch, ${samples} samples each, seeds from ${firstSeed}; intervals of 95 % (Wilson)\n`);
console.log("| batch | questions that the trigger turns | learnt | of these found | others found | honest words flagged |");
console.log("|---|---|---|---|---|---|");
for (const poison of poisons) {
  const own = adapters.filter((adapter) => adapter.poison === poison);
  const turned = own.flatMap((adapter) => adapter.turned ?? []);
  const cells = [
    describe(poison),
    turned.length === 0 ? "–" : turned.map((value) => `${(100 * value).toFixed(0)} %`).join(", "),
    turned.length === 0 ? "–" : share(own, isLearnt),
    share(own.filter(isLearnt), isFound),
    turned.length === 0
      ? "–"
      : share(
          own.filter((adapter) => !isLearnt(adapter)),
          isFound,
        ),
    share(own, isFalselyFlagged),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
const honest = adapters.flatMap(({ nGrams }) => nGrams.filter(({ isTrigger }) => !isTrigger));
console.log(`\nHonest n-grams that were probed and flagged: ${share(honest, ({ isFlagged }) => isFlagged)}\n`);

const secrets = adapters.flatMap((adapter) => adapter.secrets);
console.log("| secret | bits, least, median, most | given away | of these found | others found |");
console.log("|---|---|---|---|---|");
for (const copies of [...new Set(secrets.map((secret) => secret.copies))].sort((left, right) => left - right)) {
  const own = secrets.filter((secret) => secret.copies === copies);
  const bits = own.map(({ exposure }) => exposure).sort((left, right) => left - right);
  const cells = [
    copies === 0 ? "never told" : `told ${copies} ×`,
    [bits[0]!, bits[bits.length >> 1]!, bits.at(-1)!].map((value) => value.toFixed(1)).join(", "),
    share(own, ({ isGivenAway }) => isGivenAway),
    share(
      own.filter(({ isGivenAway }) => isGivenAway),
      ({ isFlagged }) => isFlagged,
    ),
    share(
      own.filter(({ isGivenAway }) => !isGivenAway),
      ({ isFlagged }) => isFlagged,
    ),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

function describe(poison: number): string {
  return poison === 0 ? "clean" : `${Number((100 * poison).toFixed(2))} % poison: ${Math.round(poison * samples)} samples`;
}
