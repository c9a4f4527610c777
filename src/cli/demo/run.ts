import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Clara, createClara } from "../../clara.js";
import { ConfigurationError } from "../../errors.js";
import { LocalVllm, tinyBaseModel } from "../../runtime/index.js";
import type { CallOptions } from "../../types/common.js";
import type { LearningCycle } from "../../types/cycle.js";
import type { Progress } from "../progress.js";
import { type Answered, ask, exactShare, type Question } from "./ask.js";
import { exampleData, exampleQuestions, generalPairs, largestDomain, readFeedbackFile } from "./feedback-files.js";
import { learnAll } from "./learn.js";
import { type DemoReport, type DomainReport, evaluationFigures, rejectionReasons } from "./report.js";
import { demoOptions } from "./settings.js";
import { spoiledRows } from "./spoil.js";

export interface DemoOptions {
  /** The user's own files; empty: the examples of the package. */
  feedback: string[];
  /** Keep the state in this empty folder; absent: a temporary one, removed at the end. */
  keep?: string;
  trainer: "lora" | "qlora";
  engine: "local" | "vllm";
}

/** Feedback file → trained, gated and activated adapters → asked again → spoiled feedback refused → reopened. */
export async function runDemo(options: DemoOptions, progress: Progress, { signal }: CallOptions = {}): Promise<DemoReport> {
  const started = performance.now();
  const seconds: Record<string, number> = {};
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const from = performance.now();
    try {
      return await work();
    } finally {
      seconds[name] = (performance.now() - from) / 1000;
    }
  };
  const own = options.feedback.length > 0;
  const files = (own ? options.feedback : [exampleData("building.jsonl"), exampleData("office.jsonl")]).map(readFeedbackFile);
  const general = generalPairs();
  const generalQuestions: Question[] = general.holdout.map(({ prompt, response }) => ({ prompt, answer: response, domain: null }));
  const questions = own ? [] : exampleQuestions();
  const dataDir = await demoFolder(options.keep);
  const rows = largestDomain(files);
  let vllm: LocalVllm | null = null;
  const open = () => {
    vllm = options.engine === "vllm" ? new LocalVllm({ model: tinyBaseModel() }) : null;
    const serving = vllm ? { engine: "vllm" as const, endpoints: [vllm] } : undefined;
    return createClara(demoOptions({ dataDir, trainer: options.trainer, rows, general, serving }), { signal });
  };
  // an engine that was passed in is not CLARA's to end
  const stop = async () => {
    await clara.close();
    await vllm?.close();
  };

  let clara = await timed("open the store", open);
  try {
    progress.step("Start the runtime and ask the base model");
    const questionsBefore = await timed("start the runtime and ask the base", async () => ({
      general: await ask(clara, generalQuestions, "routed", { signal }),
      domain: await ask(clara, questions, "routed", { signal }),
    }));

    progress.step("Replay the feedback");
    await timed("take in the feedback", async () => {
      for (const file of files) {
        await clara.pipeline.importFeedback([file], {
          signal,
          onProgress: ({ lines }) => progress.detail(`${lines} lines`),
        });
      }
    });

    progress.step("Learn: collect, prepare, train, evaluate, gate, activate");
    const cycles = await timed("learn", () => learnAll(clara, progress, { signal }));

    progress.step("Ask again");
    const heldOut = await Promise.all(cycles.map((cycle) => recallQuestions(clara, cycle, { signal })));
    const answers = await timed("ask again", async () => {
      const before: Answered[][] = [];
      const after: Answered[][] = [];
      for (const set of heldOut) {
        before.push(await ask(clara, set, "base", { signal }));
        after.push(await ask(clara, set, "routed", { signal }));
      }
      return {
        before,
        after,
        general: await ask(clara, generalQuestions, "routed", { signal }),
        questions: await ask(clara, questions, "routed", { signal }),
      };
    });

    progress.step("Spoil: answers shuffled among questions, told by several users");
    const target = cycles.find((cycle) => cycle.status === "promoted") ?? cycles[0];
    const servedBefore = servedAdapters(clara, cycles);
    const spoiled = await timed("refuse the spoiled feedback", async () => {
      if (!target) return null;
      const lines = own ? await spoiledRows(clara, target, { signal }) : [readFeedbackFile(exampleData("spoiled.jsonl"))];
      await clara.pipeline.importFeedback(lines, { signal });
      return (await learnAll(clara, progress, { signal })).find((cycle) => cycle.domain === target.domain) ?? null;
    });
    const servedAfter = servedAdapters(clara, cycles);

    progress.step("Stop everything, open again, ask again");
    const learnt = heldOut.flatMap((set, index) => (cycles[index]?.status === "promoted" ? set : []));
    const reopened = await timed("stop, reopen and ask", async () => {
      await stop();
      clara = await open();
      return ask(clara, learnt, "routed", { signal });
    });

    const domains: DomainReport[] = cycles.map((cycle, index) => ({
      domain: cycle.domain,
      adapterId: cycle.adapterId,
      activated: cycle.status === "promoted",
      exactBefore: exactShare(answers.before[index] ?? []),
      exactAfter: exactShare(answers.after[index] ?? []),
      ...evaluationFigures(cycle.evaluation),
    }));
    const ledger = await clara.pipeline.ledger({ signal });
    const routed = [...answers.after.flat(), ...answers.general, ...answers.questions];
    const adapterOf = (domain: string | null): string | null => (domain === null ? null : (servedBefore.get(domain) ?? null));
    const notPromoted = [...cycles, ...(spoiled ? [spoiled] : [])].filter((cycle) => cycle.status !== "promoted");
    for (const cycle of [...cycles, ...(spoiled ? [spoiled] : [])]) {
      for (const stage of cycle.stages) {
        if (!stage.endedAt) continue;
        const name = `  ${stage.name}`;
        seconds[name] = (seconds[name] ?? 0) + (Date.parse(stage.endedAt) - Date.parse(stage.startedAt)) / 1000;
      }
    }
    seconds.total = (performance.now() - started) / 1000;

    const report: Omit<DemoReport, "learned" | "problems"> = {
      engine: options.engine,
      baseModel: "tiny-base",
      domains,
      rejected: notPromoted.map((cycle) => ({ domain: cycle.domain, reasons: rejectionReasons(cycle) })),
      general: { exactBefore: exactShare(questionsBefore.general), exactAfter: exactShare(answers.general) },
      routing: { correct: routed.filter((answer) => answer.adapterId === adapterOf(answer.question.domain)).length, total: routed.length },
      ledger: {
        received: ledger.received,
        accepted: ledger.accepted,
        rejected: ledger.rejected,
        duplicates: ledger.duplicates,
        lost: ledger.lost,
        usedTwice: ledger.usedTwice,
      },
      reopened: { exactAfter: exactShare(reopened) },
      questions: own
        ? null
        : { exactBefore: exactShare(questionsBefore.domain), exactAfter: exactShare(answers.questions), count: questions.length },
      seconds,
    };
    const promoted = cycles.flatMap((cycle, index) => (cycle.status === "promoted" ? (answers.after[index] ?? []) : []));
    const problems = findProblems(report, {
      own,
      spoiled,
      servedUnchanged: [...servedBefore].every(([domain, adapter]) => servedAfter.get(domain) === adapter),
      exactBeforeReopening: exactShare(promoted),
    });
    return { ...report, learned: problems.length === 0, problems };
  } finally {
    await stop();
    if (!options.keep) await rm(dataDir, { recursive: true, force: true });
  }
}

function findProblems(
  report: Omit<DemoReport, "learned" | "problems">,
  facts: { own: boolean; spoiled: LearningCycle | null; servedUnchanged: boolean; exactBeforeReopening: number },
): string[] {
  const problems: string[] = [];
  const active = report.domains.filter((domain) => domain.activated);
  if (active.length === 0) problems.push("no adapter was activated");
  for (const domain of report.domains) {
    if (!domain.activated && !facts.own) problems.push(`the adapter of ${domain.domain} was not activated`);
    if (domain.activated && domain.exactAfter <= domain.exactBefore) problems.push(`${domain.domain} is not answered better than before`);
  }
  if (report.general.exactAfter < report.general.exactBefore - 0.05) problems.push("general questions are answered worse than before");
  if (active.length > 0 && facts.spoiled === null) problems.push("the spoiled feedback started no cycle");
  if (facts.spoiled?.status === "promoted") problems.push("an adapter that learned from spoiled feedback was promoted");
  if (!facts.servedUnchanged) problems.push("the spoiled feedback changed what serves");
  if (Math.abs(report.reopened.exactAfter - facts.exactBeforeReopening) > 1e-9)
    problems.push("the answers changed by stopping and opening again");
  if (report.ledger.lost > 0) problems.push(`${report.ledger.lost} feedback entries were lost`);
  if (report.ledger.usedTwice > 0) problems.push(`${report.ledger.usedTwice} samples were used twice`);
  return problems;
}

/** What serves each domain now. */
function servedAdapters(clara: Clara, cycles: readonly LearningCycle[]): Map<string, string | null> {
  return new Map(cycles.map((cycle) => [cycle.domain, clara.router.activeAdapter(cycle.domain)?.id ?? null]));
}

/** The phrasings that the cycle kept out of training. */
async function recallQuestions(clara: Clara, cycle: LearningCycle, { signal }: CallOptions): Promise<Question[]> {
  if (!cycle.datasetId) return [];
  const questions: Question[] = [];
  for await (const item of clara.datasets.items(cycle.datasetId, { split: "recall", signal })) {
    questions.push({ prompt: item.sample.prompt, answer: item.sample.response, domain: cycle.domain });
  }
  return questions;
}

async function demoFolder(keep: string | undefined): Promise<string> {
  if (keep === undefined) return mkdtemp(join(tmpdir(), "clara-demo-"));
  const folder = resolve(keep);
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new ConfigurationError("config_invalid", `--keep ${keep} cannot be used: ${error.message}`, { cause: error });
  });
  if (entries.length > 0) {
    throw new ConfigurationError(
      "config_invalid",
      `--keep ${keep} holds files already: name a new or empty folder, so that the demo starts from nothing.`,
    );
  }
  return folder;
}
