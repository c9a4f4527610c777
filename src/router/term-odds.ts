import type { AdapterWords, HeldOutExample } from "./lexicon.js";
import type { Question } from "./question.js";

interface KnownTerm {
  id: number;
  /** Number of questions that hold it, over all adapters and the general ones. */
  count: number;
}

/** Questions' worth of the prior: as much as an adapter's own examples must say before they outweigh what all others say. */
const PRIOR_QUESTIONS = 10;
/** Odds are drawn in towards this, or one verbatim repetition would outweigh all else. */
const BOUND = 8;
/** Of a term that nobody else's questions hold; the usual half count. */
const UNSEEN = 0.5;

/**
 * How much likelier a question's words and word pairs are among an adapter's examples than among everyone else's: naive Bayes as a
 * log-likelihood ratio with Dirichlet smoothing (Zhai and Lafferty 2004, "A Study of Smoothing Methods for Language Models") and
 * pairs as in Wang and Manning 2012 ("Baselines and Bigrams"). Function words and pairs count where they are found; only content
 * words count against an adapter by being absent, since everybody asks in his own way. Words are not independent, so the sum is
 * divided by the root of the content words' number, bounded, and weighed by the head.
 */
export class TermOdds {
  readonly #known = new Map<string, KnownTerm>();
  readonly #counts: Map<number, number>[];
  readonly #adapters: readonly AdapterWords[];
  readonly #total: number;

  constructor(adapters: readonly AdapterWords[], general: readonly Question[]) {
    this.#adapters = adapters;
    this.#counts = adapters.map(({ vocabulary: { terms } }) => {
      const counts = new Map<number, number>();
      for (let position = 0; position < terms.keys.length; position++) {
        const count = terms.counts[position]!;
        counts.set(this.#count(terms.keys[position]!, count), count);
      }
      return counts;
    });
    for (const { terms } of general) for (const term of terms) this.#count(term, 1);
    this.#total = adapters.reduce((sum, { questions }) => sum + questions.length, general.length);
  }

  /** The adapters' odds for one question, in their order, each within ±`BOUND`. */
  of(adapters: readonly number[], { words, terms }: Question, heldOut?: HeldOutExample): number[] {
    const known: (KnownTerm & { isContent: boolean })[] = [];
    const content = new Set(words.map(({ stem }) => stem));
    for (const term of terms) {
      const found = this.#known.get(term);
      if (found !== undefined) known.push({ id: found.id, count: found.count, isContent: content.has(term) });
    }
    const held =
      heldOut && new Set(this.#adapters[heldOut.adapter]!.questions[heldOut.example]!.terms.map((term) => this.#known.get(term)!.id));
    const root = Math.sqrt(Math.max(1, words.length));
    return adapters.map((adapter) => {
      const isHeld = adapter === heldOut?.adapter;
      const counts = this.#counts[adapter]!;
      const questions = this.#adapters[adapter]!.questions.length - (isHeld ? 1 : 0);
      const others = this.#total - this.#adapters[adapter]!.questions.length - (held && !isHeld ? 1 : 0);
      let absent = words.length;
      let sum = 0;
      for (const { id, count, isContent } of known) {
        const all = counts.get(id) ?? 0;
        const heldCount = held?.has(id) ? 1 : 0;
        const own = isHeld ? all - heldCount : all;
        if (own === 0) continue;
        if (isContent) absent--;
        const elsewhere = (count - all - (isHeld ? 0 : heldCount) + UNSEEN) / (others + 1);
        sum += Math.log((own / elsewhere + PRIOR_QUESTIONS) / (questions + PRIOR_QUESTIONS));
      }
      const odds = (sum + absent * Math.log(PRIOR_QUESTIONS / (questions + PRIOR_QUESTIONS))) / root;
      return odds / (1 + Math.abs(odds) / BOUND);
    });
  }

  /** Answers the term's id. */
  #count(term: string, questions: number): number {
    let known = this.#known.get(term);
    if (known === undefined) {
      known = { id: this.#known.size, count: 0 };
      this.#known.set(term, known);
    }
    known.count += questions;
    return known.id;
  }
}
