import { hashOf } from "../support/hash-of.js";
import { DuplicateIndex } from "./duplicate-index.js";
import { normaliseText } from "./text-normalisation.js";

/**
 * Puts equal and nearly equal questions into one cluster (transitively), so that a split never separates them. The returned function gives a question's cluster; its name
 * depends on the questions alone, not on their order.
 */
export function clusterPrompts(prompts: readonly string[]): (prompt: string) => string {
  const keys = [...new Set(prompts.map(normaliseText))].sort();
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let parent = parents.get(root); parent !== undefined; parent = parents.get(root)) root = parent;
    return root;
  };
  const index = new DuplicateIndex();
  for (const key of keys) {
    // Compared without case: a question in capitals is full of names, which would keep it apart from the same question with a slip of the pen.
    const pair = { prompt: key, response: "" };
    for (const found of index.findNear(pair)) {
      const [first, second] = [rootOf(found.id), rootOf(key)].sort() as [string, string];
      if (first !== second) parents.set(second, first);
    }
    index.add(key, pair);
  }
  return (prompt) => hashOf("prompt", rootOf(normaliseText(prompt)));
}
