import { AbortedError } from "../errors.js";
import type { CallOptions, PairSketch, QualityCheck, QualityReport } from "../types/index.js";
import { checkEncoding } from "./checks/encoding.js";
import { checkLanguage, detectByFrequentWords, type LanguageDetector } from "./checks/language.js";
import { checkLength } from "./checks/length.js";
import { checkPersonalData, type PersonalDataCheckOptions } from "./checks/personal-data.js";
import { checkProfanity, type TextClassifier, wordListClassifier } from "./checks/profanity.js";
import { checkRepetition } from "./checks/repetition.js";
import { checkToxicity, type ToxicityClassifier } from "./checks/toxicity.js";
import type { DuplicateIndex, QuestionAnswer } from "./duplicate-index.js";
import { areAlike, sketchOf } from "./pair-sketch.js";

/** How much a text has to do with a domain, 0..1; null where the domain has no corpus. */
export type DomainRelevance = (text: string, domain: string, options?: CallOptions) => Promise<number | null>;

/** Options of a `QualityChecker`. */
export interface QualityOptions {
  /** Characters; shorter documents are rejected, shorter question–answer pairs score lower. Default 50. */
  minLength?: number;
  /** Characters of a document, a question or an answer; longer ones are rejected. Default 2048. */
  maxLength?: number;
  /** Least score that passes, 0..1. Default .5. */
  minScore?: number;
  /** Judges profanity; default: German and English word lists. */
  profanity?: TextClassifier;
  /** Rate texts, for example as toxic, each within its own threshold; default: none. */
  classifiers?: readonly ToxicityClassifier[];
  /** Milliseconds that a classifier may take for one sample. Default 10,000. */
  classifierTimeoutMs?: number;
  /** Languages that samples may be in, as `detectLanguage` names them; a text whose language is not clear passes. Default: any. */
  languages?: readonly string[];
  /** Names a text's language; default: `german` and `english` by their frequent words. */
  detectLanguage?: LanguageDetector;
  /** Looks for e-mail addresses, IBANs, German tax ids, phone numbers and the names given; default: not (the pipeline's firewall redacts feedback). */
  personalData?: PersonalDataCheckOptions;
  /** Judges domain relevance; default: none, the check is then neutral. */
  domainRelevance?: DomainRelevance;
}

/** What one check may know beside the sample. */
export interface QualityContext extends CallOptions {
  /** `document`: only `response` counts and it must reach the least length. Default `question-answer`. */
  kind?: "question-answer" | "document";
  /** Pairs that the sample must not repeat. */
  duplicates?: Pick<DuplicateIndex, "find">;
  /** Domain to be relevant for. */
  domain?: string;
  /** Checks to leave out, for example what a person has already decided. */
  skip?: readonly QualityCheck["name"][];
}

/** Each check's share of the score; a neutral check has none. */
const WEIGHTS: Readonly<Record<QualityCheck["name"], number>> = {
  length: 0.3,
  encoding: 0.15,
  repetition: 0.2,
  profanity: 0.15,
  toxicity: 0.15,
  language: 0.1,
  personal_data: 0.1,
  exact_duplicate: 0.05,
  near_duplicate: 0.05,
  domain_relevance: 0.1,
};

export const QUALITY_DEFAULTS = { minLength: 50, maxLength: 2048, minScore: 0.5, classifierTimeoutMs: 10_000 } as const;

/**
 * Scores a sample 0..1 with the reasons: length, encoding, repetition, profanity, toxicity, language, personal data, duplicates, domain relevance. The score is the weighted mean of the checks; a
 * sample passes with no failed check and at least the minimum score. A text over the maximum length is answered by its size alone.
 * @example
 * ```ts
 * const report = await new QualityChecker().check({ prompt: "Wo ist das Büro?", response: "Im ersten Stock." });
 * report.passed; // true
 * ```
 */
export class QualityChecker {
  readonly minLength: number;
  readonly maxLength: number;
  readonly minScore: number;
  readonly #profanity: TextClassifier;
  readonly #classifiers: readonly ToxicityClassifier[];
  readonly #classifierTimeoutMs: number;
  readonly #languages: readonly string[] | undefined;
  readonly #detectLanguage: LanguageDetector;
  readonly #personalData: PersonalDataCheckOptions | undefined;
  readonly #domainRelevance: DomainRelevance | undefined;

  constructor(options: QualityOptions = {}) {
    this.minLength = options.minLength ?? QUALITY_DEFAULTS.minLength;
    this.maxLength = options.maxLength ?? QUALITY_DEFAULTS.maxLength;
    this.minScore = options.minScore ?? QUALITY_DEFAULTS.minScore;
    this.#profanity = options.profanity ?? wordListClassifier();
    this.#classifiers = options.classifiers ?? [];
    this.#classifierTimeoutMs = options.classifierTimeoutMs ?? QUALITY_DEFAULTS.classifierTimeoutMs;
    this.#languages = options.languages;
    this.#detectLanguage = options.detectLanguage ?? detectByFrequentWords;
    this.#personalData = options.personalData;
    this.#domainRelevance = options.domainRelevance;
  }

  /**
   * Runs the checks over one sample; reports instead of throwing. @throws EngineError where a classifier fails or takes too long
   * @example
   * ```ts
   * const { checks } = await clara.datasets.quality.check({ prompt: "Öffnungszeiten?", response: "asdfgh asdfgh" });
   * checks.find((check) => !check.passed)?.reason; // "the answer: most words are keyboard mash (…)"
   * ```
   */
  async check(sample: QuestionAnswer, context: QualityContext = {}): Promise<QualityReport> {
    if (context.signal?.aborted) throw new AbortedError();
    const kind = context.kind ?? "question-answer";
    const skipped = new Set(context.skip);
    const length = checkLength(sample, kind, this);
    // By size first: no expression ever sees ten megabytes.
    if (Math.max(sample.prompt.length, sample.response.length) > this.maxLength) return { score: 0, passed: false, checks: [length] };
    const checks = [length, checkEncoding(sample), checkRepetition(sample)];
    if (!skipped.has("profanity")) checks.push(await checkProfanity(sample, this.#profanity, { signal: context.signal }));
    if (this.#classifiers.length > 0 && !skipped.has("toxicity")) {
      const options = { signal: context.signal, timeoutMs: this.#classifierTimeoutMs };
      checks.push(await checkToxicity(sample, this.#classifiers, options));
    }
    if (this.#languages) checks.push(checkLanguage(sample, this.#languages, this.#detectLanguage));
    if (this.#personalData) checks.push(checkPersonalData(sample, this.#personalData));
    if (context.duplicates) checks.push(...checkDuplicates(sample, context.duplicates));
    const relevance = context.domain === undefined ? undefined : await this.#checkRelevance(sample, context.domain, context);
    const counted = checks.filter((check) => !skipped.has(check.name));
    if (relevance?.known) counted.push(relevance.check);
    const score = scoreOf(counted);
    const passed = score >= this.minScore && counted.every((check) => check.passed);
    if (relevance && !relevance.known) counted.push(relevance.check);
    return { score, passed, checks: counted };
  }

  /**
   * What is kept of a pair to find others that say the same, without keeping its texts.
   * @example
   * ```ts
   * const { quality } = clara.datasets;
   * const [one, other] = ["Im Hof.", "im Hof"].map((response) => quality.sketch({ prompt: "Wo ist das Büro?", response }));
   * quality.areAlike(one!, other!); // true
   * ```
   */
  sketch(pair: QuestionAnswer): PairSketch {
    return sketchOf(pair);
  }

  /**
   * True where two pairs say nearly the same in nearly the same words.
   * @example
   * ```ts
   * const sketch = clara.datasets.quality.sketch({ prompt: "Wo ist das Büro?", response: "Im Hof." });
   * clara.datasets.quality.areAlike(sketch, sketch); // true
   * ```
   */
  areAlike(left: PairSketch, right: PairSketch): boolean {
    return areAlike(left, right);
  }

  async #checkRelevance(sample: QuestionAnswer, domain: string, options: CallOptions): Promise<{ known: boolean; check: QualityCheck }> {
    const relevance = await this.#domainRelevance?.(`${sample.prompt}\n${sample.response}`, domain, { signal: options.signal });
    if (relevance === undefined || relevance === null) {
      const reason = `there is no corpus of the domain ${JSON.stringify(domain)} to compare with: neutral`;
      return { known: false, check: { name: "domain_relevance", score: 0.5, passed: true, reason } };
    }
    return { known: true, check: { name: "domain_relevance", score: Math.min(1, Math.max(0, relevance)), passed: true } };
  }
}

function checkDuplicates(sample: QuestionAnswer, index: Pick<DuplicateIndex, "find">): QualityCheck[] {
  const found = index.find(sample);
  return (["exact", "near"] as const).map((kind) => {
    const name = `${kind}_duplicate` as const;
    if (found?.kind !== kind) return { name, score: 1, passed: true };
    return {
      name,
      score: 0,
      passed: false,
      code: name,
      reason: `it repeats ${found.id}${kind === "near" ? ` (similarity ${found.similarity.toFixed(3)})` : ""}`,
    };
  });
}

/** A failed check cannot be outweighed: the score then stays below the half. */
function scoreOf(checks: readonly QualityCheck[]): number {
  let weights = 0;
  let sum = 0;
  for (const check of checks) {
    weights += WEIGHTS[check.name];
    sum += WEIGHTS[check.name] * check.score;
  }
  const mean = weights === 0 ? 1 : sum / weights;
  return Math.round(1000 * (checks.some((check) => !check.passed) ? mean * 0.5 : mean)) / 1000;
}
