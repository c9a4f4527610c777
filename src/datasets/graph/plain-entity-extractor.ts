import { FUNCTION_WORDS, foldText } from "../../embedders/index.js";
import { AbortedError } from "../../errors.js";
import type { CallOptions, EntityExtractor, ExtractedGraph } from "../../types/index.js";
import { detectLanguage } from "../language.js";
import { entityNameOf } from "./entity-name.js";

/** Entities kept of one text, those mentioned most first. */
const MOST_ENTITIES = 16;
const MOST_RELATIONS = 24;
/** With how many of the following entities of its sentence each one is connected. */
const NEIGHBOURS = 2;

/** "§ 34 Abs. 2 BauGB", "Art. 5", "DIN 18040", "ISO-9001", "G92". */
const CODE =
  /(?:§§?|Art\.|Artikel)\s*\d+[a-z]?(?:\s*(?:Abs\.|Absatz)\s*\d+)?(?:\s+\p{Lu}\p{L}*\p{Lu}\p{L}*)?|(?<![\p{L}\p{N}])\p{Lu}{1,6}[- ]?\d[\p{N}\p{Lu}./-]*(?<![./-])(?![\p{L}\p{N}])/gu;
const WORD = "\\p{Lu}[\\p{L}\\p{M}'’-]+";
/** "Bank of England": capitalised words in a row, joined by small ones. */
const NAME = new RegExp(`${WORD}(?:\\s+(?:(?:of|the|von|van|de|la)\\s+){0,2}${WORD})*`, "gu");
/** "Stadtwerke München", "Amt für Umwelt"; not "Genehmigung der Behörde", which speaks of two things. */
const GERMAN_NAME = new RegExp(`${WORD}(?:\\s+(?:für\\s+)?${WORD})*`, "gu");

interface Found {
  name: string;
  kind: string;
  start: number;
}

/**
 * Finds entities by spelling alone: codes (paragraphs, standards, numbers of things), names of capitalised words, German nouns, and pairs of
 * neighbouring content words in other languages; entities of one sentence are related as `co-occurs`. Needs no model; knows no synonyms.
 * @example
 * ```ts
 * const [graph] = await new PlainEntityExtractor().extract(["Nach § 34 BauGB entscheidet die Bauaufsicht."]);
 * graph?.entities.map(({ name }) => name); // ["§ 34 BauGB", "Bauaufsicht"]
 * ```
 */
export class PlainEntityExtractor implements EntityExtractor {
  readonly name = "plain-v1";

  /**
   * One graph a text, in order: at most 16 entities and 24 relations each.
   * @example
   * ```ts
   * const [graph] = await new PlainEntityExtractor().extract([text]);
   * ```
   */
  async extract(texts: readonly string[], { signal }: CallOptions = {}): Promise<ExtractedGraph[]> {
    const graphs: ExtractedGraph[] = [];
    for (const text of texts) {
      if (signal?.aborted) throw new AbortedError();
      graphs.push(extractOne(text));
    }
    return graphs;
  }
}

function extractOne(text: string): ExtractedGraph {
  const isGerman = detectLanguage(text) === "german";
  const sentences = text.split(/\n+|(?<=[.!?…:;])\s+(?=\p{Lu})/u).map((sentence) => entitiesOf(sentence, isGerman));
  const counts = new Map<string, { name: string; kind: string; count: number }>();
  for (const found of sentences.flat()) {
    const key = entityNameOf(found.name);
    const known = counts.get(key);
    if (known) known.count += 1;
    else if (key !== "") counts.set(key, { name: found.name, kind: found.kind, count: 1 });
  }
  const kept = new Map([...counts].sort(([, left], [, right]) => right.count - left.count).slice(0, MOST_ENTITIES));
  const entities = [...kept.values()].flatMap(({ name, kind, count }) =>
    Array.from({ length: Math.min(2, count) }, () => ({ name, kind })),
  );
  return { entities, relations: relationsOf(sentences, kept) };
}

function relationsOf(sentences: Found[][], kept: ReadonlyMap<string, { name: string }>): ExtractedGraph["relations"] {
  const relations = new Map<string, ExtractedGraph["relations"][number]>();
  for (const sentence of sentences) {
    const keys = [...new Set(sentence.map(({ name }) => entityNameOf(name)))].filter((key) => kept.has(key));
    for (const [index, from] of keys.entries()) {
      for (const to of keys.slice(index + 1, index + 1 + NEIGHBOURS)) {
        if (relations.size === MOST_RELATIONS) return [...relations.values()];
        relations.set([from, to].sort().join("\n"), { from: kept.get(from)!.name, to: kept.get(to)!.name, kind: "co-occurs" });
      }
    }
  }
  return [...relations.values()];
}

/** In the order of the sentence. */
function entitiesOf(sentence: string, isGerman: boolean): Found[] {
  const found: Found[] = [];
  let rest = sentence;
  for (const match of sentence.matchAll(CODE)) {
    found.push({ name: match[0].replace(/\s+/gu, " "), kind: "code", start: match.index });
    rest = blank(rest, match.index, match[0].length);
  }
  const first = rest.search(/\p{L}/u);
  for (const match of rest.matchAll(isGerman ? GERMAN_NAME : NAME)) {
    const name = trimFunctionWords(match[0]);
    const isOneWord = !/\s/u.test(name);
    // The first word of a sentence is capitalised whatever it is; German nouns always are, and a word alone is a title.
    const isOnlyFirst = isOneWord && match.index === first && match[0].length < rest.trim().length;
    if (name.length < 3 || (isOnlyFirst && !isGerman && !/\p{Lu}.*\p{Lu}/u.test(name))) continue;
    found.push({ name, kind: isGerman && isOneWord ? "term" : "name", start: match.index });
    rest = blank(rest, match.index, match[0].length);
  }
  if (!isGerman) found.push(...phrasesOf(rest));
  return found.sort((left, right) => left.start - right.start);
}

/** "Die Stadtwerke München" begins with an article that is no part of the name. */
function trimFunctionWords(name: string): string {
  const words = name.split(/\s+/u);
  while (words.length > 0 && isFunctionWord(words[0]!)) words.shift();
  return words.join(" ");
}

/** Neighbouring content words, as in RAKE (Rose et al. 2010) but always two, so that longer phrases share them. */
function phrasesOf(sentence: string): Found[] {
  const phrases: Found[] = [];
  for (const run of sentence.matchAll(/[\p{L}\p{M}][\p{L}\p{M}'-]*(?:[ \t]+[\p{L}\p{M}][\p{L}\p{M}'-]*)*/gu)) {
    const words = [...run[0].matchAll(/\S+/gu)];
    for (const [index, word] of words.entries()) {
      const next = words[index + 1];
      if (!next || [word[0], next[0]].some((one) => one.length < 3 || isFunctionWord(one))) continue;
      phrases.push({ name: `${word[0]} ${next[0]}`, kind: "phrase", start: run.index + word.index });
    }
  }
  return phrases;
}

function isFunctionWord(word: string): boolean {
  return FUNCTION_WORDS.has(foldText(word));
}

function blank(text: string, start: number, length: number): string {
  return `${text.slice(0, start)}${"|".repeat(length)}${text.slice(start + length)}`;
}
