import type { CycleEvaluation, PairedDifference, SetComparison } from "../../types/cycle.js";
import type { EvaluatedItem, EvaluatedModel, EvaluatedSet } from "../../types/runtime-protocol.js";
import type { GateOptions } from "./gate-options.js";
import { exactSignTest, pairedBootstrap } from "./statistics.js";

/** What the gate knows of one evaluation set: the public comparison, and what only the criteria need. */
export interface SetEvidence extends SetComparison {
  /** Exact sign test on the exact answers. */
  exactSignificance: number;
  /** Nats per token of the right answers, item by item; lower is better. */
  likelihoodLoss: PairedDifference;
}

/** Compares two models set by set, on the items that both answered; probes are judged apart. */
export function gatherEvidence(baseline: EvaluatedModel, candidate: EvaluatedModel, options: GateOptions): SetEvidence[] {
  const evidence: SetEvidence[] = [];
  for (const candidateSet of candidate.sets) {
    const baselineSet = baseline.sets.find((set) => set.name === candidateSet.name);
    const { kind } = candidateSet;
    if (kind !== "probe" && baselineSet !== undefined && candidateSet.items.length > 0)
      evidence.push(compareSet(baselineSet, { ...candidateSet, kind }, options));
  }
  return evidence;
}

function compareSet(baseline: EvaluatedSet, candidate: EvaluatedSet & Pick<SetComparison, "kind">, options: GateOptions): SetEvidence {
  const before = new Map(baseline.items.map((item) => [item.id, item]));
  const pairs = candidate.items.flatMap((after) => {
    const item = before.get(after.id);
    return item === undefined ? [] : [{ before: item, after }];
  });
  const bootstrap = (of: (item: EvaluatedItem) => number, among = pairs) =>
    pairedBootstrap(
      among.map((pair) => of(pair.before)),
      among.map((pair) => of(pair.after)),
      options,
    );
  const choosable = pairs.filter((pair) => pair.before.choice_probability !== null && pair.after.choice_probability !== null);
  const exact = (item: EvaluatedItem) => (item.exact ? 1 : 0);
  return {
    name: candidate.name,
    kind: candidate.kind,
    count: pairs.length,
    baselinePerplexity: perplexity(pairs.map((pair) => pair.before)),
    perplexity: perplexity(pairs.map((pair) => pair.after)),
    exact: bootstrap(exact),
    exactSignificance: exactSignTest(
      pairs.map((pair) => exact(pair.before)),
      pairs.map((pair) => exact(pair.after)),
    ),
    choice: choosable.length === 0 ? null : bootstrap((item) => item.choice_probability ?? 0, choosable),
    likelihoodLoss: bootstrap((item) => item.nll / item.tokens),
  };
}

/** exp(sum of negative log-likelihoods / sum of tokens); capped, because JSON has no infinity. */
function perplexity(items: readonly EvaluatedItem[]): number {
  let nll = 0;
  let tokens = 0;
  for (const item of items) {
    nll += item.nll;
    tokens += item.tokens;
  }
  return tokens === 0 ? 1 : Math.min(Math.exp(nll / tokens), Number.MAX_SAFE_INTEGER);
}

/** The public summary of the evidence. */
export function summariseEvidence(evidence: readonly SetEvidence[], domainMetrics: Record<string, number> = {}): CycleEvaluation {
  const recall = evidence.find((set) => set.kind === "recall") ?? evidence.find((set) => set.kind === "generalisation");
  const drops = evidence.filter((set) => set.kind === "regression").map((set) => -set.exact.difference);
  return {
    baselinePerplexity: recall?.baselinePerplexity ?? 1,
    perplexity: recall?.perplexity ?? 1,
    improvement: recall === undefined ? 0 : 1 - recall.perplexity / recall.baselinePerplexity,
    regression: Math.max(0, ...drops),
    domainMetrics,
    sets: evidence.map(({ exactSignificance: _significance, likelihoodLoss: _loss, ...comparison }) => comparison),
  };
}
