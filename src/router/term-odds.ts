import type { HeldOutExample } from "./lexicon.js";
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
  readonly #questions: readonly (readonly Question[])[];
  readonly #total: number;

  constructor(questionsByAdapter: readonly (readonly Question[])[], general: readonly Question[]) {
    this.#questions = questionsByAdapter;
    this.#counts = questionsByAdapter.map((questions) => {
      const counts = new Map<number, number>();
      for (const { terms } of questions) {
        for (const term of terms) {
          const { id } = this.#count(term);
          counts.set(id, (counts.get(id) ?? 0) + 1);
        }
      }
      return counts;
    });
    for (const { terms } of general) for (const term of terms) this.#count(term);
    this.#total = questionsByAdapter.reduce((sum, questions) => sum + questions.length, general.length);
  }

  /** The adapters' odds for one question, in their order, each within ±`BOUND`. */
  of(adapters: readonly number[], { words, terms }: Question, heldOut?: HeldOutExample): number[] {
    const known: KnownTerm[] = [];
    for (const term of terms) {
      const found = this.#known.get(term);
      if (found !== undefined) known.push(found);
    }
    const content = words.map(({ stem }) => this.#known.get(stem)?.id);
    const held = heldOut && new Set(this.#questions[heldOut.adapter]![heldOut.example]!.terms.map((term) => this.#known.get(term)!.id));
    const root = Math.sqrt(Math.max(1, words.length));
    return adapters.map((adapter) => {
      const isHeld = adapter === heldOut?.adapter;
      const counts = this.#counts[adapter]!;
      const questions = this.#questions[adapter]!.length - (isHeld ? 1 : 0);
      const others = this.#total - this.#questions[adapter]!.length - (held && !isHeld ? 1 : 0);
      let absent = words.length;
      let sum = 0;
      for (const { id, count } of known) {
        const all = counts.get(id) ?? 0;
        const heldCount = held?.has(id) ? 1 : 0;
        const own = isHeld ? all - heldCount : all;
        if (own === 0) continue;
        if (content.includes(id)) absent--;
        const elsewhere = (count - all - (isHeld ? 0 : heldCount) + UNSEEN) / (others + 1);
        sum += Math.log((own / elsewhere + PRIOR_QUESTIONS) / (questions + PRIOR_QUESTIONS));
      }
      const odds = (sum + absent * Math.log(PRIOR_QUESTIONS / (questions + PRIOR_QUESTIONS))) / root;
      return odds / (1 + Math.abs(odds) / BOUND);
    });
  }

  #count(term: string): KnownTerm {
    let known = this.#known.get(term);
    if (known === undefined) {
      known = { id: this.#known.size, count: 0 };
      this.#known.set(term, known);
    }
    known.count++;
    return known;
  }
}
