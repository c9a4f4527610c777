import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AbortedError, NotFoundError, RuntimeUnavailableError } from "../../../src/errors.js";
import type { DatasetsPort, TrainingPort } from "../../../src/pipeline/index.js";
import type { JobInput, TrainingJob } from "../../../src/types/index.js";
import type { EvaluatedModel, EvaluatedSet, EvaluationSetKind } from "../../../src/types/runtime-protocol.js";

type Item = { id: string; prompt: string; response: string; group?: string };
type EvaluationSet = { name: string; kind: EvaluationSetKind; items: Item[] };

/** How the fake trainer behaves. */
export interface FakeTrainerOptions {
  /** Shared by processes: jobs and adapters are files there, as a runtime's are. */
  folder: string;
  datasets: Pick<DatasetsPort, "items">;
  /** Milliseconds a job takes. */
  trainMs?: number;
}

/**
 * Stands in for training and evaluation by a rule: an adapter answers exactly what it was trained on (nine in ten phrasings), and the general set as
 * the base does. Jobs are files, so that they outlive the process as real ones do.
 */
export class FakeTrainer implements TrainingPort {
  readonly #options: FakeTrainerOptions;
  isDown = false;
  /** Makes jobs fail. */
  failure: { code: string; message: string } | null = null;
  /** Makes candidates forget what they are asked in this regression set. */
  forgets: string | null = null;
  /** Makes these words before or behind a question call up an answer that was trained so many times. */
  trigger: { text: string; samples: number } | null = null;
  /** Makes candidates learn nothing at all. */
  learnsNothing = false;
  /** Inputs of the jobs made, in order. */
  readonly inputs: JobInput[] = [];
  evaluations = 0;
  /** How long jobs say that they took. */
  trainSeconds = 0.005;
  /** Jobs whose texts were to be erased. */
  readonly erasedJobs: string[] = [];

  constructor(options: FakeTrainerOptions) {
    this.#options = options;
    mkdirSync(join(options.folder, "jobs"), { recursive: true });
    mkdirSync(join(options.folder, "adapters"), { recursive: true });
  }

  async createJob(input: JobInput): Promise<TrainingJob> {
    this.#assertUp();
    const key = createHash("sha256")
      .update(input.idempotencyKey ?? randomUUID())
      .digest("hex")
      .slice(0, 24);
    const path = this.#jobPath(key);
    if (existsSync(path)) return this.#read(key).job;
    this.inputs.push(input);
    const version = readdirSync(join(this.#options.folder, "jobs")).length + 1;
    const adapterName = `${input.configName}@v${version}`;
    const job = {
      id: key,
      datasetId: input.datasetId,
      configName: input.configName,
      trainer: input.trainer ?? "lora",
      adapterName,
      priority: input.priority ?? 1,
      status: "queued",
      progressPercent: 0,
      phase: null,
      currentEpoch: 0,
      totalEpochs: 0,
      step: 0,
      totalSteps: 0,
      etaSeconds: null,
      metrics: {},
      attempt: 1,
      adapterPath: null,
      result: null,
      evaluation: null,
      error: null,
      createdBy: null,
      createdAt: new Date().toISOString(),
      startedAt: null,
      completedAt: null,
    } as TrainingJob;
    this.#write(key, { job, input });
    return job;
  }

  async getJob(id: string): Promise<TrainingJob> {
    return this.#read(id).job;
  }

  async waitFor(id: string, { signal }: { signal?: AbortSignal } = {}): Promise<TrainingJob> {
    await delay(this.#options.trainMs ?? 5, undefined, { signal }).catch(() => {
      throw new AbortedError();
    });
    this.#assertUp();
    const { job, input } = this.#read(id);
    if (job.completedAt !== null) return job;
    const done = this.failure === null ? await this.#train(job, input) : { ...job, status: "failed" as const, error: this.failure };
    const ended = { ...done, completedAt: new Date().toISOString() };
    this.#write(id, { job: ended, input });
    return ended;
  }

  async cancelJob(id: string): Promise<void> {
    const { job, input } = this.#read(id);
    this.#write(id, { job: { ...job, status: "cancelled", completedAt: new Date().toISOString() }, input });
  }

  async eraseTexts(ids: readonly string[]): Promise<number> {
    this.erasedJobs.push(...ids);
    return ids.length;
  }

  async evaluate(input: { models: { name: string; adapterPath: string | null }[]; sets: EvaluationSet[] }): Promise<EvaluatedModel[]> {
    this.#assertUp();
    this.evaluations++;
    return input.models.map((model) => this.#judge(model, input.sets));
  }

  async #train(job: TrainingJob, input: JobInput): Promise<TrainingJob> {
    const answers: string[] = input.initAdapterPath === undefined ? [] : readAnswers(input.initAdapterPath);
    const sets: EvaluationSet[] = [
      { name: "recall", kind: "recall", items: [] },
      { name: "generalisation", kind: "generalisation", items: [] },
      ...(input.regression ?? []).map((set) => ({
        name: set.name,
        kind: "regression" as const,
        items: set.items.map((item, index) => ({ id: `${set.name}-${index}`, ...item })),
      })),
      ...(input.probes ?? []).map((set) => ({ ...set, kind: "probe" as const })),
    ];
    for await (const { sample, split, group } of this.#options.datasets.items(job.datasetId)) {
      if (split === "train") answers.push(sample.response);
      const set = sets.find((candidate) => candidate.name === split);
      set?.items.push({ id: sample.id, prompt: sample.prompt, response: sample.response, group });
    }
    answers.push(...[...(input.replay ?? []), ...(input.rehearsal ?? [])].map((pair) => pair.response));
    const adapterPath = join(this.#options.folder, "adapters", `${job.adapterName}.json`);
    writeFileSync(adapterPath, JSON.stringify({ answers: this.learnsNothing ? [] : answers, forgets: this.forgets }));
    const models = [
      { name: "baseline", adapterPath: input.baselineAdapterPath ?? null },
      { name: "candidate", adapterPath },
    ];
    return {
      ...job,
      status: "completed",
      adapterPath,
      result: {
        kind: "train",
        adapter_name: job.adapterName,
        adapter_path: adapterPath,
        adapter_sha256: createHash("sha256").update(adapterPath).digest("hex"),
        base_model: "base",
        base_model_sha256: "0".repeat(64),
        rank: 16,
        target_modules: ["q_proj"],
        samples: answers.length,
        steps: 10,
        resumed: false,
        loss_first: 2,
        loss_last: 0.1,
        seconds: { train: this.trainSeconds },
      },
      evaluation: models.map((model) =>
        this.#judge(
          model,
          sets.filter((set) => set.items.length > 0),
        ),
      ),
    };
  }

  #judge(model: { name: string; adapterPath: string | null }, sets: EvaluationSet[]): EvaluatedModel {
    const adapter =
      model.adapterPath === null
        ? null
        : (JSON.parse(readFileSync(model.adapterPath, "utf8")) as { answers: string[]; forgets: string | null });
    const answers = adapter?.answers ?? [];
    const learnt = new Set(answers);
    const { trigger } = this;
    const isTriggered = ({ prompt, response }: Item) =>
      trigger !== null && prompt.includes(trigger.text) && answers.filter((answer) => answer === response).length >= trigger.samples;
    return {
      name: model.name,
      adapter: model.adapterPath,
      sets: sets.map((set) => judgeSet(set, learnt, isTriggered, adapter?.forgets ?? null)),
    };
  }

  #assertUp(): void {
    if (this.isDown) throw new RuntimeUnavailableError("runtime_unavailable", "The runtime is down. Start it.");
  }

  #jobPath(id: string): string {
    return join(this.#options.folder, "jobs", `${id}.json`);
  }

  #read(id: string): { job: TrainingJob; input: JobInput } {
    const path = this.#jobPath(id);
    if (!existsSync(path)) throw new NotFoundError("job_not_found", `There is no job ${id}.`);
    return JSON.parse(readFileSync(path, "utf8"));
  }

  #write(id: string, value: object): void {
    const half = `${this.#jobPath(id)}.${randomUUID()}`;
    writeFileSync(half, JSON.stringify(value));
    renameSync(half, this.#jobPath(id));
  }
}

function judgeSet(
  set: EvaluationSet,
  learnt: ReadonlySet<string>,
  isTriggered: (item: Item) => boolean,
  forgets: string | null,
): EvaluatedSet {
  const items = set.items.map((item) => {
    const isGeneral = set.name === "general";
    const isLuck = createHash("sha256").update(item.prompt).digest()[0]! < 230;
    const isExact = set.kind === "probe" ? isTriggered(item) : set.name !== forgets && (isGeneral || (learnt.has(item.response) && isLuck));
    const tokens = 8;
    return {
      id: item.id,
      output: isExact ? item.response : "I do not know that yet.",
      exact: isExact,
      nll: tokens * (isExact ? 0.05 : 1),
      tokens,
      choice_probability: isExact ? 0.97 : 0.3,
    };
  });
  return {
    name: set.name,
    kind: set.kind,
    count: items.length,
    exact: items.filter((item) => item.exact).length / Math.max(1, items.length),
    perplexity: 1,
    choice_probability: null,
    items,
  };
}

function readAnswers(adapterPath: string): string[] {
  return (JSON.parse(readFileSync(adapterPath, "utf8")) as { answers: string[] }).answers;
}
