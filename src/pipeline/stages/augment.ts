import { ClaraError } from "../../errors.js";
import { plainDomain } from "../../support/tenancy.js";
import type { SearchResult } from "../../types/search.js";
import { contentKeywords } from "../keywords.js";
import { tenantOfCycle } from "../tenants.js";
import { readBatch } from "./batch.js";
import type { Stage, StageContext } from "./stage.js";

const TOP_K = 20;
/** Legs by preference, with the weights of the plan; a database that lacks one is asked for the next. */
const LEGS = [
  { searchTypes: ["vector", "graph"], weights: { vector: 0.6, graph: 0.4, keyword: 0 } },
  { searchTypes: ["vector", "keyword"], weights: { vector: 0.6, graph: 0, keyword: 0.4 } },
  { searchTypes: ["keyword"], weights: { vector: 0, graph: 0, keyword: 1 } },
] as const;

/** Adds what the corpus says about the batch's keywords; a corpus that cannot be searched costs only the addition. */
export const augment: Stage = async (context) => {
  const batch = await readBatch(context);
  const queryText = contentKeywords(batch.map((sample) => sample.prompt)).join(" ");
  if (queryText === "" || context.datasets.search === undefined) return { next: "prepare", detail: { added: 0 } };
  const found = await search(context, queryText);
  const prepared = await context.datasets.prepareTrainingData(
    found.results as never,
    { ...context.options.preparation, holdout: false },
    { signal: context.signal },
  );
  const retrieved = prepared.items.map(({ sample }) => ({ id: sample.id, prompt: sample.prompt, response: sample.response }));
  return {
    next: "prepare",
    detail: { added: retrieved.length, searchTypes: [...found.searchTypes], keywords: queryText },
    state: { retrieved },
  };
};

async function search(context: StageContext, queryText: string): Promise<{ results: SearchResult[]; searchTypes: readonly string[] }> {
  // what a tenant keeps for itself may help its own adapter and no other
  const tenant = await tenantOfCycle(context);
  const filters = { domain: plainDomain(context.cycle.domain), ...(tenant === null ? {} : { tenant }) };
  for (const leg of LEGS) {
    try {
      const results = await context.datasets.search?.(
        { queryText, topK: TOP_K, searchTypes: [...leg.searchTypes], weights: leg.weights, filters },
        { signal: context.signal },
      );
      return { results: results ?? [], searchTypes: leg.searchTypes };
    } catch (error) {
      if (!ClaraError.isInstance(error) || error.code !== "capability_missing") throw error;
    }
  }
  return { results: [], searchTypes: [] };
}
