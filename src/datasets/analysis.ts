import { AbortedError } from "../errors.js";
import { hashOf } from "../support/hash-of.js";
import type { CallOptions, Dataset, DatasetItem, DatasetStatistics, QualityCheck } from "../types/index.js";
import { groupKeyOf } from "./answer-group.js";
import { DuplicateIndex } from "./duplicate-index.js";
import type { QualityChecker } from "./quality-checker.js";
import type { StoredPreparation } from "./registry.js";
import { StatisticsCollector } from "./statistics.js";
import { normaliseText } from "./text-normalisation.js";
import { estimateTokens, type Tokenizer } from "./tokenizer.js";

/** What one check found over a dataset. */
export interface CheckSummary {
  name: QualityCheck["name"];
  failed: number;
  /** 0..1. */
  meanScore: number;
  /** The first reasons, with the samples they concern. */
  examples: { sampleId: string; reason: string }[];
}

/** What `analyze` finds. */
export interface DatasetAnalysis {
  dataset: Dataset;
  statistics: DatasetStatistics;
  quality: {
    /** 0..1. */
    mean: number;
    min: number;
    /** Rows by tenth of the score: the first counts scores below .1. */
    histogram: number[];
    /** Rows that would not pass the checks today. */
    failed: number;
    checks: CheckSummary[];
  };
  /** Questions that have several different answers to imitate. */
  contradictions: number;
  /** What the preparation took out, by reason; null where the rows were given prepared. */
  preparation: StoredPreparation | null;
}

const EXAMPLES_PER_CHECK = 5;

/** Reads the rows once and judges each; memory grows with the number of distinct texts, not with their length times rows. */
export async function analyzeItems(
  dataset: Dataset,
  preparation: StoredPreparation | null,
  items: AsyncIterable<DatasetItem>,
  parts: { quality: QualityChecker; tokenizer?: Tokenizer },
  { signal }: CallOptions,
): Promise<DatasetAnalysis> {
  const statistics = new StatisticsCollector();
  const checks = new Map<QualityCheck["name"], CheckSummary & { count: number }>();
  const duplicates = { imitate: new DuplicateIndex(), preference: new DuplicateIndex() };
  const answers = new Map<string, Set<string>>();
  const histogram = new Array<number>(10).fill(0);
  let [count, failed, sum, min] = [0, 0, 0, 1];
  for await (const item of items) {
    if (signal?.aborted) throw new AbortedError();
    const { sample } = item;
    const text = `${sample.prompt}\n${sample.response}`;
    statistics.add(item, parts.tokenizer ? ((await parts.tokenizer.count([text]))[0] ?? estimateTokens(text)) : estimateTokens(text));
    const report = await parts.quality.check(sample, { duplicates: duplicates[sample.objective], signal });
    duplicates[sample.objective].add(sample.id, sample);
    for (const check of report.checks) summarise(checks, check, sample.id);
    histogram[Math.min(9, Math.floor(report.score * 10))]! += 1;
    count += 1;
    sum += report.score;
    min = Math.min(min, report.score);
    if (!report.passed) failed += 1;
    if (sample.objective === "imitate") {
      const question = hashOf(normaliseText(sample.prompt));
      answers.set(question, (answers.get(question) ?? new Set()).add(groupKeyOf(sample.response)));
    }
  }
  return {
    dataset,
    statistics: statistics.result(parts.tokenizer === undefined),
    quality: {
      mean: count === 0 ? 0 : sum / count,
      min: count === 0 ? 0 : min,
      histogram,
      failed,
      checks: [...checks.values()].map(({ count: judged, ...summary }) => ({ ...summary, meanScore: summary.meanScore / judged })),
    },
    contradictions: [...answers.values()].filter((groups) => groups.size > 1).length,
    preparation,
  };
}

function summarise(summaries: Map<QualityCheck["name"], CheckSummary & { count: number }>, check: QualityCheck, sampleId: string): void {
  const summary = summaries.get(check.name) ?? { name: check.name, failed: 0, meanScore: 0, examples: [], count: 0 };
  summaries.set(check.name, summary);
  summary.count += 1;
  summary.meanScore += check.score;
  if (!check.passed) summary.failed += 1;
  if (check.reason && check.score < 1 && summary.examples.length < EXAMPLES_PER_CHECK)
    summary.examples.push({ sampleId, reason: check.reason });
}
