import { ValidationError } from "../../errors.js";
import type { DatasetItem } from "../../types/dataset.js";
import { excludeSamples } from "../sample-ledger.js";
import { readBatch } from "./batch.js";
import type { Stage } from "./stage.js";

/**
 * Filters, deduplicates and splits the batch, and stores it as a dataset. The same rows give the same dataset version, so a
 * crash between the dataset and the stage's end leaves nothing behind.
 */
export const prepare: Stage = async (context) => {
  const { cycle, options, datasets, signal } = context;
  const batch = await readBatch(context);
  const prepared = await datasets.prepareTrainingData(
    batch,
    { ...options.preparation, ...(options.holdout === undefined ? {} : { holdout: options.holdout }) },
    { signal },
  );
  const learnt = prepared.items.filter((item) => item.split === "train");
  if (learnt.length === 0) {
    throw new ValidationError(
      "dataset_too_small",
      `Preparation left nothing to learn of ${batch.length} samples of the domain "${cycle.domain}".`,
      {
        details: { domain: cycle.domain, received: batch.length, removed: prepared.report.removed.length },
      },
    );
  }
  const items = [...prepared.items, ...retrievedItems(context.state.retrieved ?? [], cycle.domain)];
  const name = `feedback-${cycle.domain}`.slice(0, 100);
  const dataset = await datasets.create(
    { name, domain: cycle.domain, items, lineage: { cycleId: cycle.id, feedbackIds: prepared.items.length } },
    { signal },
  );
  await context.failpoint("prepare.created");
  const { removed } = prepared.report;
  return {
    next: "train",
    detail: {
      datasetId: dataset.id,
      received: batch.length,
      kept: prepared.items.length,
      removed: removed.slice(0, 50),
      splits: dataset.splits,
    },
    patch: { dataset_id: dataset.id },
    commit: (transaction) => excludeSamples(transaction, { cycleId: cycle.id, removed, now: context.now() }),
  };
};

/** What was found, not rated: neutral, of little weight, never held out. */
function retrievedItems(retrieved: readonly { id: string; prompt: string; response: string }[], domain: string): DatasetItem[] {
  return retrieved.map(({ id, prompt, response }) => ({
    sample: {
      id: `retrieved:${id}`,
      prompt,
      response,
      objective: "imitate",
      rating: 0.5,
      importance: 2,
      domain,
      source: "retrieved",
      qualityScore: 0.5,
    },
    split: "train",
    group: `retrieved:${id}`,
  }));
}
