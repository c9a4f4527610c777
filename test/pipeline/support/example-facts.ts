import { readFile } from "node:fs/promises";
import type { Fact } from "./facts.js";

/** The lines of one of the package's example files that are JSON; the others are broken on purpose. */
export async function exampleRows(file: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(`examples/data/${file}`, "utf8");
  return text.split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line) as Record<string, unknown>];
    } catch {
      return [];
    }
  });
}

/** Facts of the examples, which the tiny base can learn in a few steps, in three phrasings each. */
export async function exampleFacts(count: number): Promise<Fact[]> {
  const known = new Map<string, Map<string, string>>();
  for (const { prompt, response, correction, rating } of await exampleRows("building.jsonl")) {
    const answer = correction ?? (Number(rating) > 0 ? response : undefined);
    if (typeof prompt !== "string" || typeof answer !== "string") continue;
    known.set(answer, (known.get(answer) ?? new Map()).set(prompt.toLowerCase().replace(/\W+/g, " ").trim(), prompt));
  }
  for (const { prompt, answer } of await exampleRows("questions.jsonl")) known.get(String(answer))?.set(String(prompt), String(prompt));
  return [...known]
    .filter(([, prompts]) => prompts.size >= 3)
    .slice(0, count)
    .map(([answer, prompts]) => ({ answer, prompts: [...prompts.values()].slice(0, 3) }));
}
