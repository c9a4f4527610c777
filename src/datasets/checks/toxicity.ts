import { AbortedError, ClaraError, EngineError } from "../../errors.js";
import type { CallOptions, QualityCheck } from "../../types/index.js";

/**
 * Rates texts, for example as toxic or off topic: a model of your own, or a service.
 * @example
 * ```ts
 * const classifier: ToxicityClassifier = { name: "shouting", classify: async (texts) => texts.map((text) => ({ score: text === text.toUpperCase() ? 1 : 0 })) };
 * ```
 */
export interface ToxicityClassifier {
  readonly name: string;
  /** Least score that rejects, 0..1. Default .5. */
  readonly threshold?: number;
  /** One result a text, in their order; `score` 0 (harmless) … 1, `label` what it was found to be. */
  classify(texts: readonly string[], options: CallOptions): Promise<readonly { score: number; label?: string }[]>;
}

const DEFAULT_THRESHOLD = 0.5;

/**
 * The toxicity check over question and answer by every classifier; the worst one counts.
 * @throws EngineError `request_timeout`, `engine_response_invalid`, `engine_error`: a text that could not be rated is neither passed nor rejected
 */
export async function checkToxicity(
  sample: { prompt: string; response: string },
  classifiers: readonly ToxicityClassifier[],
  options: CallOptions & { timeoutMs: number },
): Promise<QualityCheck> {
  const checks = await Promise.all(classifiers.map((classifier) => checkBy(classifier, sample, options)));
  return checks.reduce((worst, check) =>
    check.passed < worst.passed || (check.passed === worst.passed && check.score < worst.score) ? check : worst,
  );
}

async function checkBy(
  classifier: ToxicityClassifier,
  sample: { prompt: string; response: string },
  options: CallOptions & { timeoutMs: number },
): Promise<QualityCheck> {
  const results = await classify(classifier, [sample.prompt, sample.response], options);
  const [question, answer] = results as [(typeof results)[number], (typeof results)[number]];
  const [what, worst] = question.score > answer.score ? (["question", question] as const) : (["answer", answer] as const);
  const threshold = classifier.threshold ?? DEFAULT_THRESHOLD;
  const check = { name: "toxicity", score: 1 - worst.score } as const;
  if (worst.score < threshold) return { ...check, passed: true };
  const label = worst.label === undefined ? "" : ` (${worst.label})`;
  const reason = `the ${what}: ${classifier.name} rates it ${worst.score.toFixed(2)}${label}; below ${threshold} passes`;
  return { ...check, passed: false, code: "toxic", reason };
}

async function classify(
  classifier: ToxicityClassifier,
  texts: readonly string[],
  { signal, timeoutMs }: CallOptions & { timeoutMs: number },
) {
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
  const details = { classifier: classifier.name };
  const ended = Promise.withResolvers<never>();
  const end = (): void => ended.reject(either.reason);
  either.addEventListener("abort", end, { once: true });
  try {
    const results = await Promise.race([classifier.classify(texts, { signal: either }), ended.promise]);
    const isValid = Array.isArray(results) && results.length === texts.length && results.every(({ score }) => score >= 0 && score <= 1);
    if (isValid) return results;
    const message = `The classifier ${classifier.name} must give one score of 0..1 for each of the ${texts.length} texts.`;
    throw new EngineError("engine_response_invalid", message, { details });
  } catch (error) {
    if (signal?.aborted) throw new AbortedError();
    if (ClaraError.isInstance(error)) throw error;
    if (timeout.aborted) {
      const message = `The classifier ${classifier.name} did not answer within ${timeoutMs} ms. Raise classifierTimeoutMs, or make it faster.`;
      throw new EngineError("request_timeout", message, { details: { ...details, timeoutMs }, cause: error, isRetryable: true });
    }
    const message = `The classifier ${classifier.name} failed: ${error instanceof Error ? error.message : String(error)}.`;
    throw new EngineError("engine_error", message, { details, cause: error });
  } finally {
    either.removeEventListener("abort", end);
  }
}
