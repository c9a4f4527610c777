import { DuplicateIndex } from "./duplicate-index.js";
import { hashOf, normaliseText } from "./text-normalisation.js";

/**
 * Puts equal and nearly equal questions into one cluster (transitively), so that a split never separates them. The returned function gives a question's cluster; its name
 * depends on the questions alone, not on their order.
 */
export function clusterPrompts(prompts: readonly string[]): (prompt: string) => string {
  // One prompt stands for all that are equal after normalisation; the least of them, so that the order does not matter.
  const representatives = new Map<string, string>();
  for (const prompt of prompts) {
    const key = normaliseText(prompt);
    const known = representatives.get(key);
    if (known === undefined || prompt < known) representatives.set(key, prompt);
  }
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let parent = parents.get(root); parent !== undefined; parent = parents.get(root)) root = parent;
    return root;
  };
  const index = new DuplicateIndex();
  for (const key of [...representatives.keys()].sort()) {
    const pair = { prompt: representatives.get(key)!, response: "" };
    for (const found of index.findNear(pair)) {
      const [first, second] = [rootOf(found.id), rootOf(key)].sort() as [string, string];
      if (first !== second) parents.set(second, first);
    }
    index.add(key, pair);
  }
  return (prompt) => hashOf("prompt", rootOf(normaliseText(prompt)));
}
