import type { LearningTimes } from "../../pipeline/index.js";
import type { LearningCycle } from "../../types/cycle.js";
import { type Answered, exactShare } from "./ask.js";
import { type DemoReport, evaluationFigures, type Ledger, type MemoryReport, rejectionReasons } from "./report.js";

/** Everything that the demo saw; `answersBefore` and `answersAfter` stand in the order of `cycles`. */
export interface Observations {
  engine: string;
  /** The feedback is the user's own, of which nobody knows whether it can be learnt. */
  isOwn: boolean;
  /** Before anything was learnt: general questions, and paraphrases of the example facts. */
  first: { general: Answered[]; questions: Answered[] };
  /** What users had corrected: the base's answers, those at once with the memory, and those when adapters had learnt. */
  memory: { before: Answered[]; atOnce: Answered[]; afterLearning: Answered[]; times: LearningTimes };
  cycles: LearningCycle[];
  /** Held-out phrasings asked of the base model, and then routed. */
  answersBefore: Answered[][];
  answersAfter: Answered[][];
  again: { general: Answered[]; questions: Answered[] };
  spoiled: LearningCycle | null;
  /** Adapter by domain, before and after the spoiled feedback. */
  servedBefore: Map<string, string | null>;
  servedAfter: Map<string, string | null>;
  reopened: Answered[];
  ledger: Ledger;
  seconds: Record<string, number>;
}

/** The report, and whether what the demo promises happened. */
export function judge(seen: Observations): DemoReport {
  const cycles = [...seen.cycles, ...(seen.spoiled ? [seen.spoiled] : [])];
  const routed = [...seen.answersAfter.flat(), ...seen.again.general, ...seen.again.questions];
  const adapterOf = (domain: string | null): string | null => (domain === null ? null : (seen.servedBefore.get(domain) ?? null));
  const { received, accepted, rejected, duplicates, lost, usedTwice } = seen.ledger;
  const report = {
    engine: seen.engine,
    baseModel: "tiny-base",
    domains: seen.cycles.map((cycle, index) => ({
      domain: cycle.domain,
      adapterId: cycle.adapterId,
      activated: cycle.status === "promoted",
      exactBefore: exactShare(seen.answersBefore[index] ?? []),
      exactAfter: exactShare(seen.answersAfter[index] ?? []),
      ...evaluationFigures(cycle.evaluation),
    })),
    rejected: cycles
      .filter((cycle) => cycle.status !== "promoted")
      .map((cycle) => ({ domain: cycle.domain, reasons: rejectionReasons(cycle) })),
    memory: memoryFigures(seen.memory),
    general: { exactBefore: exactShare(seen.first.general), exactAfter: exactShare(seen.again.general) },
    routing: { correct: routed.filter((answer) => answer.adapterId === adapterOf(answer.question.domain)).length, total: routed.length },
    ledger: { received, accepted, rejected, duplicates, lost, usedTwice },
    reopened: { exactAfter: exactShare(seen.reopened) },
    questions: seen.isOwn
      ? null
      : {
          exactBefore: exactShare(seen.first.questions),
          exactAfter: exactShare(seen.again.questions),
          count: seen.first.questions.length,
        },
    seconds: seen.seconds,
  };
  const problems = problemsOf(report, seen);
  return { ...report, learned: problems.length === 0, problems };
}

function memoryFigures({ before, atOnce, afterLearning, times }: Observations["memory"]): MemoryReport | null {
  if (before.length === 0) return null;
  const retired = afterLearning.filter(({ isRecalled }) => !isRecalled);
  const seconds = (ms: number | null) => (ms === null ? null : ms / 1000);
  return {
    count: before.length,
    exactBefore: exactShare(before),
    exactAtOnce: exactShare(atOnce),
    retired: retired.length,
    exactRetired: exactShare(retired),
    exactAfter: exactShare(afterLearning),
    secondsToFirstEffect: seconds(times.medianMsToFirstEffect),
    secondsToWeights: seconds(times.medianMsToWeights),
  };
}

function problemsOf(report: Omit<DemoReport, "learned" | "problems">, seen: Observations): string[] {
  const problems: string[] = [];
  const active = report.domains.filter((domain) => domain.activated);
  if (active.length === 0) problems.push("no adapter was activated");
  for (const domain of report.domains) {
    if (!domain.activated && !seen.isOwn) problems.push(`the adapter of ${domain.domain} was not activated`);
    if (domain.activated && domain.exactAfter <= domain.exactBefore) problems.push(`${domain.domain} is not answered better than before`);
  }
  const { memory } = report;
  if (memory !== null && memory.exactAtOnce <= memory.exactBefore) problems.push("corrections did not help at once");
  if (memory !== null && active.length > 0 && memory.exactAfter < memory.exactAtOnce - 0.1) {
    problems.push("corrections that helped at once were forgotten when an adapter had learnt them");
  }
  if (report.general.exactAfter < report.general.exactBefore - 0.05) problems.push("general questions are answered worse than before");
  if (active.length > 0 && seen.spoiled === null) problems.push("the spoiled feedback started no cycle");
  if (seen.spoiled?.status === "promoted") problems.push("an adapter that learned from spoiled feedback was promoted");
  if ([...seen.servedBefore].some(([domain, adapter]) => seen.servedAfter.get(domain) !== adapter)) {
    problems.push("the spoiled feedback changed what serves");
  }
  const promoted = seen.cycles.flatMap((cycle, index) => (cycle.status === "promoted" ? (seen.answersAfter[index] ?? []) : []));
  if (Math.abs(report.reopened.exactAfter - exactShare(promoted)) > 1e-9) {
    problems.push("the answers changed by stopping and opening again");
  }
  if (report.ledger.lost > 0) problems.push(`${report.ledger.lost} feedback entries were lost`);
  if (report.ledger.usedTwice > 0) problems.push(`${report.ledger.usedTwice} samples were used twice`);
  return problems;
}
