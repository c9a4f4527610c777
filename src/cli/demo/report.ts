import type { CycleEvaluation, LearningCycle } from "../../types/cycle.js";
import { table } from "../table.js";

/** What `clara demo --json FILE` writes. Exact answers are shares 0..1. */
export interface DemoReport {
  engine: string;
  baseModel: string;
  domains: DomainReport[];
  /** Null where nobody corrected anything. */
  memory: MemoryReport | null;
  rejected: { domain: string; reasons: string[] }[];
  general: { exactBefore: number; exactAfter: number };
  routing: { correct: number; total: number };
  ledger: Ledger;
  reopened: { exactAfter: number };
  /** Paraphrases that no feedback told; null where the feedback came from the user's own file. */
  questions: { exactBefore: number; exactAfter: number; count: number } | null;
  seconds: Record<string, number>;
  /** True where everything that the demo promises happened. */
  learned: boolean;
  /** What did not happen, in words. */
  problems: string[];
}

/** What corrected questions were answered, asked with `memory: true`. */
export interface MemoryReport {
  /** Questions asked. */
  count: number;
  /** By the base model alone. */
  exactBefore: number;
  /** Right after the feedback, when no adapter had learnt. */
  exactAtOnce: number;
  /** Questions that got no correction any more when the adapters served. */
  retired: number;
  /** Share of those that were answered right. */
  exactRetired: number;
  /** All, when the adapters served. */
  exactAfter: number;
  /** Median from feedback to the first answer that it helped. */
  secondsToFirstEffect: number | null;
  /** Median from feedback to the activation of an adapter that is shown to know it. */
  secondsToWeights: number | null;
}

export interface DomainReport {
  domain: string;
  adapterId: string | null;
  activated: boolean;
  /** Held-out phrasings of learnt facts, asked through the serving client. */
  exactBefore: number;
  exactAfter: number;
  perplexityBefore: number | null;
  perplexityAfter: number | null;
  /** Perplexity on facts that were kept out whole; null where the file had too few. */
  generalisationBefore: number | null;
  generalisationAfter: number | null;
  /** Exact answers on what the assistant could do before. */
  regressionBefore: number | null;
  regressionAfter: number | null;
}

export interface Ledger {
  received: number;
  accepted: number;
  rejected: number;
  duplicates: number;
  lost: number;
  usedTwice: number;
}

/** The numbers of one cycle's evaluation that the report shows. */
export function evaluationFigures(
  evaluation: CycleEvaluation | null,
): Pick<
  DomainReport,
  "perplexityBefore" | "perplexityAfter" | "generalisationBefore" | "generalisationAfter" | "regressionBefore" | "regressionAfter"
> {
  const generalisation = evaluation?.sets.find((set) => set.kind === "generalisation");
  const general = evaluation?.sets.find((set) => set.kind === "regression" && set.name === "general");
  return {
    perplexityBefore: evaluation?.baselinePerplexity ?? null,
    perplexityAfter: evaluation?.perplexity ?? null,
    generalisationBefore: generalisation?.baselinePerplexity ?? null,
    generalisationAfter: generalisation?.perplexity ?? null,
    regressionBefore: general?.exact.baseline ?? null,
    regressionAfter: general?.exact.candidate ?? null,
  };
}

/** Why a cycle did not promote its adapter. */
export function rejectionReasons(cycle: LearningCycle): string[] {
  const reasons = (cycle.gate?.reasons ?? []).filter((reason) => reason.verdict !== "pass").map((reason) => reason.message);
  if (cycle.error) reasons.push(`${cycle.error.code}: ${cycle.error.message}`);
  return reasons;
}

/** The summary as tables for a terminal. */
export function formatReport(report: DemoReport): string {
  const share = (value: number | null): string => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);
  const perplexity = (value: number | null): string => (value === null ? "–" : value.toFixed(2));
  const change = (before: string, after: string): string => `${before} → ${after}`;

  const domains = table(
    report.domains.map((row) => [
      row.domain,
      row.activated ? (row.adapterId ?? "–") : "not activated",
      change(share(row.exactBefore), share(row.exactAfter)),
      change(perplexity(row.perplexityBefore), perplexity(row.perplexityAfter)),
      change(perplexity(row.generalisationBefore), perplexity(row.generalisationAfter)),
      change(share(row.regressionBefore), share(row.regressionAfter)),
    ]),
    { head: ["domain", "adapter", "exact answers", "perplexity", "unseen facts (ppl)", "general exact"] },
  );
  const { ledger, memory, questions, routing } = report;
  const facts = table(
    [
      ...(questions
        ? [[`${questions.count} paraphrases never told`, change(share(questions.exactBefore), share(questions.exactAfter))]]
        : []),
      ...(memory
        ? [
            [`${memory.count} corrected questions, at once`, `${change(share(memory.exactBefore), share(memory.exactAtOnce))} (memory)`],
            [
              "the same when learnt",
              `${share(memory.exactAfter)}; ${memory.retired} without the memory, of which ${share(memory.exactRetired)} are right`,
            ],
          ]
        : []),
      ["general questions", change(share(report.general.exactBefore), share(report.general.exactAfter))],
      ["after stop and reopen", share(report.reopened.exactAfter)],
      ["sent to the right model", `${routing.correct} of ${routing.total} questions`],
      [
        "feedback",
        `${ledger.received} received, ${ledger.accepted} accepted, ${ledger.rejected} rejected, ${ledger.duplicates} duplicates, ` +
          `${ledger.lost} lost, ${ledger.usedTwice} used twice`,
      ],
      ...report.rejected.map(({ domain, reasons }) => [`not promoted: ${domain}`, reasons.map((reason) => `- ${reason}`).join("\n")]),
    ],
    { widths: [30, 90] },
  );
  const seconds = table(
    Object.entries(report.seconds).map(([stage, value]) => [stage, value.toFixed(1)]),
    { head: ["stage", "seconds"] },
  );

  const verdict = report.learned
    ? "The assistant learned, and the spoiled feedback changed nothing."
    : `The learning did not happen as promised:\n${report.problems.map((problem) => `  - ${problem}`).join("\n")}`;
  return [domains, facts, seconds, verdict].join("\n");
}
