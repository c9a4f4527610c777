import { once } from "node:events";
import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { ClaraError, ValidationError } from "../../errors.js";
import type { ParquetWorkerData, ParquetWorkerMessage } from "./parquet-worker.js";
import type { SourceRecord } from "./record.js";

/** Decoding a row group of the largest size takes some ten seconds. */
const DEFAULT_TIMEOUT_MS = 60_000;
const MAX_HEAP_MIB = 2048;

/** Reads an open Parquet file in a thread of its own. @throws ValidationError `input_invalid` where it is not Parquet, or keeps the decoder too long */
export async function* readParquetInThread(descriptor: number, timeoutMs = DEFAULT_TIMEOUT_MS): AsyncGenerator<SourceRecord> {
  const { url, execArgv } = workerEntry();
  const worker = new Worker(url, {
    workerData: { descriptor } satisfies ParquetWorkerData,
    execArgv,
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
  });
  try {
    for (;;) {
      worker.postMessage("next");
      const answer = await nextAnswer(worker, timeoutMs);
      if ("error" in answer) throw damaged(answer.error);
      if (answer.records.length === 0) return;
      yield* answer.records;
    }
  } finally {
    await worker.terminate();
  }
}

/** `once` rejects with the thread's own error, such as the end of its memory. */
async function nextAnswer(worker: Worker, timeoutMs: number): Promise<ParquetWorkerMessage> {
  try {
    const [message] = await once(worker, "message", { signal: AbortSignal.timeout(timeoutMs) });
    return message as ParquetWorkerMessage;
  } catch (error) {
    const isTooSlow = (error as { code?: unknown }).code === "ABORT_ERR";
    throw damaged(isTooSlow ? `a part of it was not decoded within ${timeoutMs} ms` : "the decoder ended", error);
  }
}

function damaged(why: string, cause?: unknown): ValidationError {
  return new ValidationError("input_invalid", `The file is not Parquet, or it is damaged: ${why}.`, {
    details: { field: "source" },
    cause,
  });
}

/** Beside the source while CLARA is developed, beside the bundle where it is installed. */
function workerEntry(): { url: URL; execArgv: string[] } {
  if (import.meta.url.endsWith(".ts")) {
    const hooks = new URL("../../../scripts/ts-hooks.mjs", import.meta.url);
    return { url: new URL("./parquet-worker.ts", import.meta.url), execArgv: ["--import", hooks.href] };
  }
  const candidates = ["./datasets/parquet-worker.js", "./parquet-worker.js", "../datasets/parquet-worker.js"];
  const url = candidates.map((candidate) => new URL(candidate, import.meta.url)).find((candidate) => existsSync(candidate));
  if (url) return { url, execArgv: [] };
  throw new ClaraError(
    "capability_missing",
    "The thread that decodes Parquet (datasets/parquet-worker.js) is not beside clara-sdk: a bundler left it out. Mark clara-sdk as external in the bundler.",
  );
}
