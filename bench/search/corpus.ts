/** Texts that look like texts to an index: words by Zipf's law, a topic each, the same at every run. */
import type { DocumentInput } from "../../src/types/index.js";

const VOCABULARY = 20_000;
const TOPICS = 400;
const WORDS = 60;

function random(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
}

/** Made of syllables, so that it shares n-grams with others as words do. */
function word(number: number): string {
  const syllables = ["ka", "lo", "mi", "ter", "san", "dor", "vel", "ri", "bun", "ges"];
  return [...String(number + 1_000)].map((digit) => syllables[Number(digit)]).join("");
}

/** Frequent words have small numbers. */
const zipf = (draw: number): number => Math.floor(VOCABULARY ** draw) - 1;

function textOf(seed: number, length: number): string {
  const next = random(seed * 7919);
  const topic = Math.floor(next() * TOPICS);
  const words = Array.from({ length }, () => (next() < 0.3 ? word(1_000 + topic * 40 + Math.floor(next() * 40)) : word(zipf(next()))));
  return `The ${words.slice(0, length / 2).join(" ")}. And ${words.slice(length / 2).join(" ")}.`;
}

export function* documents(count: number): Generator<DocumentInput> {
  for (let index = 0; index < count; index++) {
    yield { id: `d${index}`, content: textOf(index, WORDS), language: "english", domain: `domain${index % 10}` };
  }
}

export function queries(count: number): string[] {
  return Array.from({ length: count }, (_, index) => textOf(index + 10_000_000, 6));
}
