import type { CallOptions } from "../types/common.js";
import type { EvaluatedModel } from "../types/runtime-protocol.js";
import { earlierItems, recallSetName } from "./earlier-learning.js";
import type { StageContext } from "./stages/stage.js";

/** A right answer that is likelier than all its distractors together was not found by chance. */
const CHOSEN = 0.5;

/**
 * Samples of which the evaluation did not show that the candidate knows them: those kept out whole that it does not answer, and all of a
 * fact of which it answers a held-out phrasing wrong. Of a fact without held-out phrasings the gate's verdict on the others is what is known.
 */
export async function unlearntSamples(
  context: Pick<StageContext, "store" | "datasets" | "options" | "cycle">,
  candidate: EvaluatedModel,
  { signal }: CallOptions,
): Promise<string[]> {
  const { cycle, datasets } = context;
  const asked = new Set(["recall", "generalisation", recallSetName(cycle.domain)]);
  const wrong = new Set<string>();
  for (const set of candidate.sets) {
    if (!asked.has(set.name)) continue;
    for (const item of set.items) if (!item.exact && (item.choice_probability ?? 0) < CHOSEN) wrong.add(item.id);
  }
  if (wrong.size === 0) return [];
  // read twice, so that only what is unknown is held
  async function* items() {
    yield* datasets.items(cycle.dataset_id as string, { signal });
    yield* earlierItems(context, cycle.domain, { signal });
  }
  const unknownFacts = new Set<string>();
  for await (const { sample, group } of items()) if (wrong.has(sample.id)) unknownFacts.add(group);
  const unlearnt: string[] = [];
  for await (const { sample, group } of items()) if (unknownFacts.has(group) && sample.feedbackId) unlearnt.push(sample.feedbackId);
  return unlearnt;
}
