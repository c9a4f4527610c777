import type { DatasetItem } from "../../../src/types/index.js";

/** A row of some 250 characters that is like no other; the same for the same index. */
export function generatedItem(index: number): DatasetItem {
  const number = (index * 2_654_435_761) % 4_294_967_296;
  return {
    sample: {
      id: `sample-${index}`,
      prompt: `Welche Gebühr gilt für den Antrag ${number} der Gemeinde ${index}?`,
      response: `Für den Antrag ${number} der Gemeinde ${index} beträgt die Gebühr ${(number % 900) + 5} Euro; sie ist binnen ${(number % 60) + 1} Tagen zu zahlen.`,
      objective: "imitate",
      rating: 1,
      importance: 3,
      domain: "recht",
      source: "test",
      qualityScore: 0.75,
    },
    split: index % 20 === 0 ? "recall" : "train",
    group: `group-${number.toString(16)}`,
  };
}
