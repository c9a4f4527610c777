import { setImmediate as nextTurn } from "node:timers/promises";
import type { Embedder } from "../../types/common.js";
import { cosineOf, embedTexts } from "./meaning-clusters.js";
import { overlapOf, type Question, questionOf } from "./questions.js";

/** Share of the shorter question's content words from which two ask nearly the same. */
const MIN_OVERLAP = 0.7;
/** The same, from which an embedder is asked. */
const MIN_DOUBTFUL_OVERLAP = 0.3;
/** Questions that one is compared with at most: those that share its rarest words. */
const MAX_COMPARED = 200;
/** Of them, those that the embedder is asked about. */
const MAX_DOUBTFUL = 20;
/** Questions compared before the event loop has its turn. */
const PER_TURN = 100;
/** What sums of weights may be off by. */
const ROUNDING = 1e-9;

/** Who tells of questions in other words whether they ask the same. */
export interface QuestionMeanings {
  embedder: Embedder;
  /** Cosine (0..1) from which two questions ask the same. */
  minSimilarity: number;
  signal?: AbortSignal;
}

interface Doubtful {
  left: Question;
  right: Question;
  overlap: number;
}

/**
 * Which questions ask nearly the same. "Nearly" is wide: what is said of two of them is a contradiction only where the answers are of one
 * kind as well, see `compareAnswers`.
 */
export class AlikeQuestions {
  readonly #alike = new Map<string, string[]>();
  readonly #frequency = new Map<string, number>();
  /** Questions by each of their stems, and by those without one of which they share too little with any other. */
  readonly #byStem = new Map<string, Question[]>();
  readonly #byRareStem = new Map<string, Question[]>();
  readonly #minOverlap: number;

  private constructor(minOverlap: number) {
    this.#minOverlap = minOverlap;
  }

  /**
   * Compares questions, each only with those that share a word without which they cannot be alike. The embedder is asked about the second
   * ones alone, and what they share words with.
   */
  static async among(first: readonly string[], second: readonly string[], meanings?: QuestionMeanings): Promise<AlikeQuestions> {
    const alike = new AlikeQuestions(meanings === undefined ? MIN_OVERLAP : MIN_DOUBTFUL_OVERLAP);
    const doubtful = await alike.#compare([...first, ...second].map(questionOf), new Set(meanings && second));
    if (meanings !== undefined && doubtful.length > 0) await alike.#askAbout(doubtful, meanings);
    return alike;
  }

  /** The questions that ask nearly the same as this one. */
  to(text: string): readonly string[] {
    return this.#alike.get(text) ?? [];
  }

  async #compare(questions: readonly Question[], asked: ReadonlySet<string>): Promise<Doubtful[]> {
    for (const { words } of questions) for (const stem of words.keys()) this.#frequency.set(stem, (this.#frequency.get(stem) ?? 0) + 1);
    const doubtful: Doubtful[] = [];
    for (const [index, left] of questions.entries()) {
      if (index % PER_TURN === PER_TURN - 1) await nextTurn();
      const stems = [...left.words.keys()].sort((one, other) => this.#frequency.get(one)! - this.#frequency.get(other)!);
      const rare = this.#rareStems(left, stems);
      const doubts: Doubtful[] = [];
      for (const right of this.#candidates(stems, rare)) {
        const overlap = overlapOf(left, right);
        // "the chapel" alone asks nothing of it
        const isOneWord = Math.min(left.words.size, right.words.size) === 1 && left.words.size !== right.words.size;
        if (overlap >= MIN_OVERLAP - ROUNDING && !isOneWord) this.#join(left, right);
        else if (overlap >= MIN_DOUBTFUL_OVERLAP && asked.has(left.text)) doubts.push({ left, right, overlap });
      }
      doubtful.push(...doubts.sort((one, other) => other.overlap - one.overlap).slice(0, MAX_DOUBTFUL));
      for (const stem of stems) append(this.#byStem, stem, left);
      for (const stem of rare) append(this.#byRareStem, stem, left);
    }
    return doubtful;
  }

  async #askAbout(doubtful: readonly Doubtful[], { embedder, minSimilarity, signal }: QuestionMeanings): Promise<void> {
    const texts = [...new Set(doubtful.flatMap(({ left, right }) => [left.text, right.text]))];
    const embedded = await embedTexts(embedder, texts, { signal });
    const vectors = new Map(texts.map((text, index) => [text, embedded[index]!]));
    for (const { left, right } of doubtful) {
      if (cosineOf(vectors.get(left.text)!, vectors.get(right.text)!) >= minSimilarity) this.#join(left, right);
    }
  }

  #join(left: Question, right: Question): void {
    append(this.#alike, left.text, right.text);
    append(this.#alike, right.text, left.text);
  }

  /** Of two questions that overlap, the shorter one has one of these in common with the other (prefix filter: Bayardo, Ma and Srikant 2007). */
  #rareStems({ words, total }: Question, rarestFirst: readonly string[]): Set<string> {
    const rare = new Set<string>();
    let left = total;
    for (const stem of rarestFirst) {
      if (left < this.#minOverlap * total - ROUNDING) break;
      rare.add(stem);
      left -= words.get(stem)!;
    }
    return rare;
  }

  #candidates(rarestFirst: readonly string[], rare: ReadonlySet<string>): Set<Question> {
    const candidates = new Set<Question>();
    for (const stem of rarestFirst) {
      for (const question of (rare.has(stem) ? this.#byStem : this.#byRareStem).get(stem) ?? []) {
        if (candidates.size === MAX_COMPARED) return candidates;
        candidates.add(question);
      }
    }
    return candidates;
  }
}

function append<Item>(lists: Map<string, Item[]>, key: string, item: Item): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [item]);
  else list.push(item);
}
