import type { RecalledCorrection } from "../../types/memory.js";
import { QuestionIndex } from "../question-index.js";
import { normaliseText } from "../storable-text.js";

/** An accepted correction that no adapter knows yet. */
export interface Correction {
  feedbackId: string;
  domain: string;
  /** Only requests of the same tenant get it; null: only requests without one. */
  tenant: string | null;
  prompt: string;
  answer: string;
}

/** Whom a correction is looked for. */
export interface RecallScope {
  /** Absent: of any domain. */
  domain: string | undefined;
  tenant: string | null;
}

const MAX_RECALLED = 3;
/** How much less like the question than the best one another may be: further off, it is about something else. */
const MAX_BEHIND_BEST = 0.1;

/** Finds corrections of questions that ask the same, see `QuestionIndex`. */
export class CorrectionIndex {
  readonly #questions: QuestionIndex<Correction>;

  /** Newest first: of corrections of one question the newest counts. */
  constructor(corrections: readonly Correction[]) {
    const newest = new Map<string, Correction>();
    for (const correction of corrections) {
      const key = JSON.stringify([correction.domain, correction.tenant, normaliseText(correction.prompt)]);
      if (!newest.has(key)) newest.set(key, correction);
    }
    this.#questions = new QuestionIndex(newest.values());
  }

  get size(): number {
    return this.#questions.size;
  }

  /** The most similar first; none that is below the threshold. */
  find(question: string, { domain, tenant }: RecallScope): RecalledCorrection[] {
    const isInScope = (correction: Correction) => correction.tenant === tenant && (domain === undefined || correction.domain === domain);
    const found = this.#questions.find(question, isInScope).map(({ item, similarity }): RecalledCorrection => {
      const { feedbackId, prompt, answer } = item;
      return { feedbackId, domain: item.domain, prompt, answer, similarity };
    });
    return distinct(found).slice(0, MAX_RECALLED);
  }
}

/** Of those that say the same only the most similar; more text would only lead the model astray. */
function distinct(found: readonly RecalledCorrection[]): RecalledCorrection[] {
  const answers = new Set<string>();
  return found.filter(({ answer, similarity }) => {
    const key = normaliseText(answer);
    if (answers.has(key) || similarity < found[0]!.similarity - MAX_BEHIND_BEST) return false;
    answers.add(key);
    return true;
  });
}
