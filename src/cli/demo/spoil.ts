import type { Clara } from "../../clara.js";
import type { CallOptions } from "../../types/common.js";
import type { LearningCycle } from "../../types/cycle.js";

/** The learnt questions of a cycle, each with another question's answer, as feedback lines of six users. */
export async function* spoiledRows(clara: Clara, cycle: LearningCycle, { signal }: CallOptions): AsyncGenerator<string> {
  if (!cycle.datasetId) return;
  const rows: { prompt: string; response: string; group: string }[] = [];
  for await (const item of clara.datasets.items(cycle.datasetId, { split: "train", signal })) {
    rows.push({ prompt: item.sample.prompt, response: item.sample.response, group: item.group });
  }
  // Sorted by answer, each row takes the answer half a list further on: another fact's wherever there are two facts.
  rows.sort((a, b) => (a.group < b.group ? -1 : a.group > b.group ? 1 : 0));
  const step = Math.floor(rows.length / 2);
  for (const [index, row] of rows.entries()) {
    const other = rows[(index + step + (index % 7)) % rows.length];
    if (!other || other.group === row.group) continue;
    yield JSON.stringify({
      prompt: row.prompt,
      response: "I do not know that yet.",
      rating: -1,
      correction: other.response,
      domain: cycle.domain,
      subjectId: `spoiler-${index % 6}`,
    });
  }
}
