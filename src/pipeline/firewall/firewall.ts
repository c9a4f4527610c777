import { findPersonalData, PERSONAL_DATA_DEFAULTS, type PersonalDataFinding, redact } from "../../support/personal-data.js";
import { isReceipt } from "../../support/receipts.js";
import type { FirewallFinding, SampleObjective } from "../../types/feedback.js";
import type { ParsedFeedback } from "../feedback-input.js";
import type { FoundGeneration } from "../ports.js";
import { QuestionIndex } from "../question-index.js";
import { normaliseText } from "../storable-text.js";
import type { FirewallOptions } from "./firewall-options.js";
import { findInjection } from "./injection.js";

/** The texts of a feedback. */
export interface FeedbackTexts {
  prompt: string;
  response: string;
  correction?: string;
  comment?: string;
}

/** What a feedback teaches, and how its answer was rated. */
export interface RatedLesson {
  objective: SampleObjective;
  answer: string;
  rating: number;
}

/** Looks at feedback before it is stored. It reports; what the findings come to is the verdict's business. */
export class Firewall {
  readonly #options: FirewallOptions;
  readonly #heldOut: ReadonlySet<string>;
  readonly #nearlyHeldOut: QuestionIndex<{ prompt: string }>;
  readonly #gold: ReadonlyMap<string, readonly string[]>;
  readonly #nearlyGold: QuestionIndex<{ prompt: string; answers: readonly string[] }>;

  /** `heldOut`: the questions that versions are tested on. */
  constructor(options: FirewallOptions, heldOut: readonly string[]) {
    this.#options = options;
    const tested = [...heldOut, ...options.heldOut];
    this.#heldOut = new Set(tested.map(normaliseText));
    this.#nearlyHeldOut = new QuestionIndex(tested.map((prompt) => ({ prompt })));
    const gold = options.gold.map(({ prompt, answers }) => ({ prompt, answers: answers.map(normaliseText) }));
    this.#gold = new Map(gold.map(({ prompt, answers }) => [normaliseText(prompt), answers]));
    this.#nearlyGold = new QuestionIndex(gold);
  }

  /** Whether the answer was given to the one who rates it. */
  checkOrigin(parsed: ParsedFeedback, generation: FoundGeneration | null): FirewallFinding | null {
    if (generation === null) return null;
    const { receiptSecret } = this.#options;
    if (receiptSecret !== undefined) {
      const { receipt = "" } = parsed;
      if (isReceipt(receipt, receiptSecret, generation.id, generation.subjectId ?? undefined)) return null;
      const reason = receipt === "" ? "the answer's receipt is missing" : "the receipt is not that of this answer";
      return { code: "receipt_invalid", action: "reject", reason };
    }
    if (generation.subjectId === null || parsed.subjectId === undefined || parsed.subjectId === generation.subjectId) return null;
    return { code: "not_own_generation", action: "reject", reason: "the answer was given to somebody else" };
  }

  /** Takes personal data out of the texts, or reports it. */
  screenPersonalData(texts: FeedbackTexts): { texts: FeedbackTexts; finding: FirewallFinding | null } {
    const { action = "redact", ...options } = this.#options.personalData;
    if (action === "keep") return { texts, finding: null };
    const settings = { ...PERSONAL_DATA_DEFAULTS, ...options };
    const found: PersonalDataFinding[] = [];
    const screened = { ...texts };
    for (const field of ["prompt", "response", "correction", "comment"] as const) {
      const text = texts[field];
      if (text === undefined) continue;
      const inText = findPersonalData(text, settings);
      found.push(...inText);
      if (action === "redact") screened[field] = redact(text, inText);
    }
    if (found.length === 0) return { texts, finding: null };
    const reason = `it holds personal data: ${describe(found)}${action === "redact" ? ", which was taken out" : ""}`;
    return { texts: screened, finding: { code: "personal_data", action, reason } };
  }

  /** What else speaks against learning it. */
  screen(texts: FeedbackTexts, lesson: RatedLesson): FirewallFinding[] {
    return [this.#heldOutFinding(texts), this.#injectionFinding(texts), this.#goldFinding(texts, lesson)].filter(
      (finding) => finding !== null,
    );
  }

  /** Whether versions are tested on this very question. */
  isHeldOut(prompt: string): boolean {
    return this.#heldOut.has(normaliseText(prompt));
  }

  /**
   * Whether a feedback is as a trusted answer would have it: a liked or corrected answer must hold a right one, and an answer that holds one
   * must not be disliked. Null where no trusted answer is known, or nothing was said about it.
   */
  agreesWithGold(prompt: string, { objective, answer, rating }: RatedLesson): boolean | null {
    const right = this.#gold.get(normaliseText(prompt)) ?? this.#nearlyGold.find(prompt)[0]?.item.answers;
    if (right === undefined) return null;
    const isRight = right.some((text) => normaliseText(answer).includes(text));
    if (objective === "imitate") return isRight;
    return rating < 0 ? !isRight : null;
  }

  /** What a person writes into a feedback is stored as what users write is: without personal data, where it is taken out at all. */
  redacted(text: string): string {
    const { action = "redact", ...options } = this.#options.personalData;
    return action === "redact" ? redact(text, findPersonalData(text, { ...PERSONAL_DATA_DEFAULTS, ...options })) : text;
  }

  /** The question itself is refused; one that asks the same in other words may be another one, so a person decides. */
  #heldOutFinding({ prompt }: FeedbackTexts): FirewallFinding | null {
    if (this.isHeldOut(prompt)) {
      return { code: "held_out", action: "reject", reason: "every version is tested on this question, so none may learn it" };
    }
    if (this.#nearlyHeldOut.find(prompt).length === 0) return null;
    return { code: "held_out", action: "review", reason: "it asks nearly what every version is tested on" };
  }

  #injectionFinding(texts: FeedbackTexts): FirewallFinding | null {
    const { injection } = this.#options;
    if (injection === "accept") return null;
    for (const field of ["prompt", "correction", "comment", "response"] as const) {
      const found = findInjection(texts[field] ?? "");
      if (found !== null) return { code: "prompt_injection", action: injection, reason: `the ${field} ${found}` };
    }
    return null;
  }

  #goldFinding({ prompt }: FeedbackTexts, lesson: RatedLesson): FirewallFinding | null {
    if (this.agreesWithGold(prompt, lesson) !== false) return null;
    const reason = lesson.objective === "imitate" ? "it contradicts a trusted answer" : "it dislikes a trusted answer";
    return { code: "contradicts_gold", action: "review", reason };
  }
}

function describe(found: readonly PersonalDataFinding[]): string {
  const counts = new Map<string, number>();
  for (const { kind } of found) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => `${count} ${kind.replace("_", " ")}`).join(", ");
}
