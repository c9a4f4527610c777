import type { GateReason, PairedDifference } from "../../types/cycle.js";
import type { SetEvidence } from "./evidence.js";
import type { GateOptions } from "./gate-options.js";

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const interval = (difference: PairedDifference) =>
  `${percent(difference.baseline)} → ${percent(difference.candidate)}, difference ${percent(difference.difference)} [${percent(difference.low)}, ${percent(difference.high)}], ${difference.count} items`;

/** Whether there is enough held-out data to decide anything. */
export function evidenceCriterion(recall: SetEvidence | undefined, options: GateOptions): GateReason {
  const count = recall?.count ?? 0;
  return count >= options.minRecallItems
    ? { criterion: "evidence", verdict: "pass", message: `${count} held-out phrasings` }
    : {
        criterion: "evidence",
        verdict: "insufficient",
        message: `${count} held-out phrasings of learnt facts, ${options.minRecallItems} are needed; give more phrasings of the same facts`,
      };
}

/**
 * Exact answers and choice probability on held-out phrasings. Where answers are ever exact, exact answers must rise; where they
 * never are (free text), the right answer must become more likely among others of its kind. Neither may fall.
 */
export function recallCriteria(recall: SetEvidence, options: GateOptions): GateReason[] {
  const { exact, choice } = recall;
  const exactRises = exact.low > 0 && recall.exactSignificance <= 1 - options.confidence;
  const exactSpeaks = Math.max(exact.baseline, exact.candidate) >= options.informativeExact;
  const message = interval(exact);
  const reasons: GateReason[] = [];
  if (exact.high < 0) reasons.push({ criterion: "recall_exact", verdict: "fail", message: `fewer exact answers: ${message}` });
  else if (exactRises) reasons.push({ criterion: "recall_exact", verdict: "pass", message });
  else if (exact.baseline >= options.ceiling)
    reasons.push({ criterion: "recall_exact", verdict: "insufficient", message: `what serves now already answers these: ${message}` });
  else if (exactSpeaks) reasons.push({ criterion: "recall_exact", verdict: "insufficient", message: `may be chance: ${message}` });
  else
    reasons.push({ criterion: "recall_exact", verdict: "pass", message: `answers are never exact here, the choice decides: ${message}` });

  const decides = !exactRises && !exactSpeaks;
  if (choice === null) {
    const verdict = decides ? "insufficient" : "pass";
    reasons.push({ criterion: "choice_probability", verdict, message: "no other answers to compare with" });
  } else if (choice.high < 0) {
    reasons.push({ criterion: "choice_probability", verdict: "fail", message: `right answers are chosen less: ${interval(choice)}` });
  } else if (decides && (choice.low <= 0 || choice.difference < options.minChoiceGain)) {
    reasons.push({ criterion: "choice_probability", verdict: "insufficient", message: `may be chance: ${interval(choice)}` });
  } else {
    reasons.push({ criterion: "choice_probability", verdict: "pass", message: interval(choice) });
  }
  return reasons;
}

/** Perplexity on held-out phrasings: necessary, never sufficient (an adapter trained on shuffled answers learns their form). Worse fails; no better waits for more evidence. */
export function perplexityCriterion(recall: SetEvidence, options: GateOptions): GateReason {
  const improvement = 1 - recall.perplexity / recall.baselinePerplexity;
  const figures = `${recall.baselinePerplexity.toFixed(3)} → ${recall.perplexity.toFixed(3)}, ${percent(improvement)} better`;
  if (improvement >= options.minPerplexityImprovement) return { criterion: "perplexity", verdict: "pass", message: figures };
  const isWorse = improvement <= -options.minPerplexityImprovement || recall.likelihoodLoss.low > 0;
  const verdict = isWorse ? "fail" : "insufficient";
  return { criterion: "perplexity", verdict, message: `${figures}, ${percent(options.minPerplexityImprovement)} are required` };
}

/**
 * What must stay: a set fails where more exact answers than the budget are lost for certain and right answers became less
 * likely too (a long answer worded otherwise is no regression), or where their likelihood alone collapses, or where the
 * frozen anchor's budget is spent (many small losses, each under the limit of its own cycle).
 */
export function regressionCriterion(set: SetEvidence, anchor: number | undefined, options: GateOptions): GateReason {
  const criterion = "regression";
  const { exact, likelihoodLoss: loss } = set;
  const message = `${set.name}: ${interval(exact)}; ${loss.difference >= 0 ? "+" : ""}${loss.difference.toFixed(3)} nats a token`;
  const lessLikely = loss.difference > options.regressionLikelihoodBudget;
  if (exact.high < -options.regressionBudget && lessLikely && loss.low > 0)
    return { criterion, verdict: "fail", message: `lost ${message}` };
  // what the baseline neither answers nor finds likely, such as another domain's facts, it has not got to lose
  const isKnown = exact.baseline >= options.informativeExact || set.baselinePerplexity < options.knownPerplexity;
  if (isKnown && set.count >= options.minRecallItems && loss.low > options.regressionLikelihoodLimit)
    return { criterion, verdict: "fail", message: `right answers became unlikely in ${message}` };
  if (anchor !== undefined && set.count >= options.minRecallItems && lessLikely && exact.candidate < anchor - options.cumulativeBudget)
    return { criterion, verdict: "fail", message: `more than the cumulative budget below the anchor ${percent(anchor)}: ${message}` };
  if (exact.difference < -options.regressionLimit && lessLikely)
    return { criterion, verdict: "insufficient", message: `may have lost ${message}` };
  return { criterion, verdict: "pass", message };
}

/** Facts kept out whole cannot be known, but they must not become absurd: their perplexity may not explode. */
export function generalisationCriterion(set: SetEvidence, options: GateOptions): GateReason {
  const ratio = set.perplexity / set.baselinePerplexity;
  const message = `${set.baselinePerplexity.toFixed(3)} → ${set.perplexity.toFixed(3)}, ratio ${ratio.toFixed(2)}, ${set.count} items`;
  const exploded =
    set.count >= 4 && ratio > options.maxGeneralisationRatio && set.likelihoodLoss.low > Math.log(options.maxGeneralisationRatio);
  return { criterion: "generalisation", verdict: exploded ? "fail" : "pass", message };
}
