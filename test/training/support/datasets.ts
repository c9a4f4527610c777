import { NotFoundError } from "../../../src/errors.js";
import type { DatasetSource } from "../../../src/training/client-options.js";
import type { DatasetItem, SplitName } from "../../../src/types/dataset.js";

/** One row of a dataset, from a question and its answer. */
export function datasetItem(id: string, prompt: string, response: string, split: SplitName = "train", importance = 3): DatasetItem {
  return {
    sample: {
      id,
      feedbackId: `feedback-${id}`,
      prompt,
      response,
      objective: "imitate",
      rating: 1,
      importance,
      domain: "office",
      source: "chat",
      qualityScore: 1,
    },
    split,
    group: response,
  };
}

/** Datasets in memory, by id, as `DatasetManager` gives them. */
export function datasetsOf(sets: Record<string, DatasetItem[]>): DatasetSource {
  const find = (id: string) => {
    const items = sets[id];
    if (items === undefined) throw new NotFoundError("dataset_not_found", `no dataset ${id}`, { details: { id } });
    return items;
  };
  return {
    async get(id) {
      const splits = { train: 0, recall: 0, generalisation: 0, preference: 0 };
      for (const { split } of find(id)) splits[split] += 1;
      return { id, splits };
    },
    async *items(id, options = {}) {
      for (const item of find(id)) if (options.split === undefined || item.split === options.split) yield item;
    },
  };
}

/** A small dataset: eight facts to learn, two other phrasings, one fact kept out. */
export function officeItems(): DatasetItem[] {
  const answers = [
    "the blue room",
    "the red room",
    "floor four",
    "the old hall",
    "the north wing",
    "room nine",
    "the cellar",
    "the garden",
  ];
  return [
    ...answers.map((answer, index) => datasetItem(`t${index}`, `Where does team ${index} meet?`, `Team ${index} meets in ${answer}.`)),
    ...answers
      .slice(0, 2)
      .map((answer, index) => datasetItem(`r${index}`, `Which place has team ${index}?`, `Team ${index} meets in ${answer}.`, "recall")),
    datasetItem("g0", "Where does team 9 meet?", "Team 9 meets in the attic.", "generalisation"),
  ];
}
