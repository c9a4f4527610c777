import type { Clara } from "../../clara.js";
import type { CallOptions } from "../../types/common.js";
import type { LearningCycle } from "../../types/cycle.js";
import { ensureRuntime } from "../ensure-runtime.js";
import type { Progress } from "../progress.js";
import { type Answered, ask, type Question } from "./ask.js";
import { correctedQuestions, exampleData, exampleQuestions, generalPairs, largestDomain, readFeedbackFile } from "./feedback-files.js";
import { judge } from "./judge.js";
import { learnAll } from "./learn.js";
import type { DemoReport } from "./report.js";
import { DemoSession, type SessionOptions } from "./session.js";
import { spoiledRows } from "./spoil.js";
import { Stopwatch } from "./stopwatch.js";

export interface DemoOptions extends SessionOptions {
  /** The user's own files; empty: the examples of the package. */
  feedback: string[];
}

/** Feedback file → trained, gated and activated adapters → asked again → spoiled feedback refused → reopened. */
export async function runDemo(options: DemoOptions, progress: Progress, { signal }: CallOptions = {}): Promise<DemoReport> {
  const isOwn = options.feedback.length > 0;
  const files = (isOwn ? options.feedback : [exampleData("building.jsonl"), exampleData("office.jsonl")]).map(readFeedbackFile);
  const general = generalPairs();
  const generalQuestions: Question[] = general.holdout.map(({ prompt, response }) => ({ prompt, answer: response, domain: null }));
  const exampleParaphrases = isOwn ? [] : exampleQuestions();
  const askRouted = async (clara: Clara) => ({
    general: await ask(clara, generalQuestions, "routed", { signal }),
    questions: await ask(clara, exampleParaphrases, "routed", { signal }),
  });

  const session = await DemoSession.create(options, { rows: largestDomain(files), general });
  try {
    // after what the user can get wrong: an installation takes minutes
    await ensureRuntime({ engine: options.engine, signal });
    const watch = new Stopwatch();
    const clara = await watch.time("open the store", () => session.open({ signal }));
    progress.step("Start the runtime and ask the base model");
    const first = await watch.time("start the runtime and ask the base", () => askRouted(clara));

    progress.step("Replay the feedback");
    await watch.time("take in the feedback", () => replay(clara, files, progress, { signal }));

    progress.step("Ask what was corrected again, at once: the memory has the corrections before any adapter has learnt them");
    const corrected = correctedQuestions(files);
    const memory = await watch.time("ask what was corrected at once", async () => ({
      before: await ask(clara, corrected, "base", { signal }),
      atOnce: await ask(clara, corrected, "memory", { signal }),
    }));

    progress.step("Learn: collect, prepare, train, evaluate, gate, activate");
    const cycles = await watch.time("learn", () => learnAll(clara, progress, { signal }));

    progress.step("Ask again");
    const heldOut = await Promise.all(cycles.map((cycle) => recallQuestions(clara, cycle, { signal })));
    const answersBefore: Answered[][] = [];
    const answersAfter: Answered[][] = [];
    const again = await watch.time("ask again", async () => {
      for (const set of heldOut) {
        answersBefore.push(await ask(clara, set, "base", { signal }));
        answersAfter.push(await ask(clara, set, "routed", { signal }));
      }
      return askRouted(clara);
    });
    const afterLearning = await watch.time("ask what was corrected again", () => ask(clara, corrected, "memory", { signal }));
    const times = await clara.memory.times();

    progress.step("Spoil: answers shuffled among questions, told by several users");
    const servedBefore = servedAdapters(clara, cycles);
    const spoiled = await watch.time("refuse the spoiled feedback", () => spoil(clara, cycles, isOwn, progress, { signal }));
    const servedAfter = servedAdapters(clara, cycles);

    progress.step("Stop everything, open again, ask again");
    const learnt = heldOut.flatMap((set, index) => (cycles[index]?.status === "promoted" ? set : []));
    const { reopened, ledger } = await watch.time("stop, reopen and ask", async () => {
      await session.stop();
      const afterwards = await session.open({ signal });
      return {
        reopened: await ask(afterwards, learnt, "routed", { signal }),
        ledger: await afterwards.pipeline.ledger({ signal }),
      };
    });

    for (const cycle of [...cycles, ...(spoiled ? [spoiled] : [])]) addStages(watch, cycle);
    watch.add("total", watch.total);
    return judge({
      engine: options.engine,
      isOwn,
      first,
      memory: { ...memory, afterLearning, times },
      cycles,
      answersBefore,
      answersAfter,
      again,
      spoiled,
      servedBefore,
      servedAfter,
      reopened,
      ledger,
      seconds: watch.seconds,
    });
  } finally {
    await session.end();
  }
}

async function replay(clara: Clara, files: readonly Buffer[], progress: Progress, { signal }: CallOptions): Promise<void> {
  for (const [index, file] of files.entries()) {
    const onProgress = ({ lines }: { lines: number }) => progress.detail(`file ${index + 1} of ${files.length}: line ${lines}`);
    await clara.pipeline.importFeedback([file], { signal, onProgress });
  }
}

/** A cycle of the first domain that was learnt, from right answers told to wrong questions; null where it did not start. */
async function spoil(
  clara: Clara,
  cycles: readonly LearningCycle[],
  isOwn: boolean,
  progress: Progress,
  { signal }: CallOptions,
): Promise<LearningCycle | null> {
  const target = cycles.find((cycle) => cycle.status === "promoted") ?? cycles[0];
  if (!target) return null;
  const lines = isOwn ? await spoiledRows(clara, target, { signal }) : [readFeedbackFile(exampleData("spoiled.jsonl"))];
  await clara.pipeline.importFeedback(lines, { signal });
  return (await learnAll(clara, progress, { signal })).find((cycle) => cycle.domain === target.domain) ?? null;
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

/** The stages of cycles, which run side by side, so that their sum may exceed the time of the step. */
function addStages(watch: Stopwatch, cycle: LearningCycle): void {
  for (const { name, startedAt, endedAt } of cycle.stages) {
    if (endedAt) watch.add(`  ${name}`, (Date.parse(endedAt) - Date.parse(startedAt)) / 1000);
  }
}
