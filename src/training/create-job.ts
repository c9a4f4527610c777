import { randomUUID } from "node:crypto";
import type { z } from "zod";
import { ClaraError, ConflictError, NotFoundError, ValidationError } from "../errors.js";
import type { Executor } from "../store/store.js";
import { JobInput, type TrainingJob } from "../types/job.js";
import { throwIfAborted } from "./abort.js";
import { assertTrainable, type TrainRequest } from "./build-spec.js";
import type { DatasetSource, ResolvedTrainingOptions } from "./client-options.js";
import { appendEvents, statusEvent } from "./job-events.js";
import { findJobByKey } from "./job-list.js";
import { notifyOfJob } from "./job-notifier.js";
import type { JobQueue } from "./job-queue.js";
import { type JobRow, takeVersion } from "./job-records.js";
import { jobView } from "./job-view.js";
import type { RunContext } from "./run-job.js";

const SMALLEST_DATASET = 2;

/** Checks the input, and writes the job's row and its message in one transaction: the given one, or its own. */
export async function createJob(
  context: RunContext,
  input: JobInput,
  options: { signal: AbortSignal; transaction?: Executor | undefined },
): Promise<TrainingJob> {
  const { queue, notifier } = context;
  const { store, datasets } = context.options;
  const job = parseJobInput(input);
  assertTrainable({ trainer: job.trainer, initAdapterPath: job.initAdapterPath });
  const known = await findJobByKey(options.transaction ?? store.db, job.idempotencyKey);
  if (known !== null) return known;
  await checkDataset(datasets, job.datasetId, options.signal);
  await queue.start();
  throwIfAborted(options.signal, "createJob");

  const id = randomUUID();
  const write = (executor: Executor) => writeJob(executor, context, id, job);
  const created = options.transaction === undefined ? await store.db.transaction().execute(write) : await write(options.transaction);
  notifier.notify(id);
  if (created !== null) return jobView(created);
  // another call with the same key was first
  const first = await findJobByKey(options.transaction ?? store.db, job.idempotencyKey);
  if (first !== null) return first;
  throw new ConflictError(
    "job_state_conflict",
    `Another job with the idempotency key ${job.idempotencyKey} is just being created: try again.`,
    {
      isRetryable: true,
    },
  );
}

/** Writes a job's row, its message and its first event; null where a job with its key exists. */
export async function insertJob(
  executor: Executor,
  queue: JobQueue,
  values: Pick<
    JobRow,
    "id" | "kind" | "dataset_id" | "config_name" | "version" | "adapter_name" | "trainer" | "priority" | "idempotency_key" | "created_by"
  > & { input: string },
): Promise<JobRow | null> {
  const row = await executor
    .insertInto("training_jobs")
    .values({ ...values, status: "queued", metrics: "{}", last_sequence: 1 })
    .onConflict((conflict) => conflict.column("idempotency_key").doNothing())
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return null;
  const messageId = await queue.send(executor, row);
  await executor.updateTable("training_jobs").set({ message_id: messageId }).where("id", "=", row.id).execute();
  await appendEvents(executor, row.id, 1, [statusEvent(row)]);
  await notifyOfJob(executor, row.id);
  return row;
}

async function writeJob(executor: Executor, context: RunContext, id: string, job: z.output<typeof JobInput>): Promise<JobRow | null> {
  const version = await takeVersion(executor, job.configName);
  const adapterName = `${job.configName}@v${version}`;
  return insertJob(executor, context.queue, {
    id,
    kind: "train",
    dataset_id: job.datasetId,
    config_name: job.configName,
    version,
    adapter_name: adapterName,
    trainer: job.trainer,
    priority: job.priority,
    idempotency_key: job.idempotencyKey ?? null,
    created_by: job.createdBy ?? null,
    input: JSON.stringify(trainRequest(id, adapterName, job, context.options)),
  });
}

function trainRequest(id: string, adapterName: string, job: z.output<typeof JobInput>, options: ResolvedTrainingOptions): TrainRequest {
  const { defaults, baseModel } = options;
  return {
    jobId: id,
    datasetId: job.datasetId,
    trainer: job.trainer,
    adapterName,
    baseModel,
    overrides: {
      checkpointEverySteps: defaults.checkpointEverySteps,
      ...defaults.overrides,
      ...defaults.trainers[job.trainer],
      ...job.overrides,
    },
    initAdapterPath: job.initAdapterPath,
    replay: job.replay,
    rehearsal: job.rehearsal,
    regression: job.regression,
    probes: job.probes,
    baselineAdapterPath: job.baselineAdapterPath,
  };
}

function parseJobInput(input: JobInput): z.output<typeof JobInput> {
  const parsed = JobInput.safeParse(input);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join(".") || "input";
    throw new ValidationError("input_invalid", `${field}: ${issue?.message}`, { details: { field } });
  }
  if (!/^[a-z0-9]/.test(parsed.data.configName)) {
    throw new ValidationError("input_invalid", "configName: begin with a lower-case letter or a digit; it becomes the adapter's folder.", {
      details: { field: "configName" },
    });
  }
  return parsed.data;
}

async function checkDataset(datasets: DatasetSource, id: string, signal: AbortSignal): Promise<void> {
  const { splits } = await datasets.get(id, { signal }).catch((error: unknown) => {
    if (!ClaraError.isInstance(error) || error.code !== "dataset_not_found") throw error;
    throw new NotFoundError("dataset_not_found", `There is no dataset ${id}. Create it first, or list the datasets to see their ids.`, {
      cause: error,
      details: { id },
    });
  });
  const rows = splits.train ?? 0;
  if (rows === 0) throw new ValidationError("dataset_empty", `Dataset ${id} has no rows to train on.`, { details: { id } });
  if (rows >= SMALLEST_DATASET) return;
  const message = `Dataset ${id} has ${rows} row to train on; at least ${SMALLEST_DATASET} are needed.`;
  throw new ValidationError("dataset_too_small", message, { details: { id, rows } });
}
