import PQueue from "p-queue";
import type { ClaraError } from "../../errors.js";
import type { GenerationRequest, GenerationResult } from "../../types/generation.js";
import { asClaraError } from "../http/engine-errors.js";

/** One answer of a batch. */
export type BatchOutcome = { status: "fulfilled"; value: GenerationResult } | { status: "rejected"; reason: ClaraError };

/** How far a batch has come. */
export interface BatchProgress {
  completed: number;
  failed: number;
  total: number;
}

/** Runs `generate` over the requests, `concurrency` at once, and settles each by itself, in order; never rejects. */
export async function runBatch(
  requests: readonly GenerationRequest[],
  generate: (request: GenerationRequest) => Promise<GenerationResult>,
  options: { concurrency: number; onProgress?: (progress: BatchProgress) => void },
): Promise<BatchOutcome[]> {
  const queue = new PQueue({ concurrency: options.concurrency });
  const progress: BatchProgress = { completed: 0, failed: 0, total: requests.length };
  const one = async (request: GenerationRequest): Promise<BatchOutcome> => {
    const outcome = await settle(generate(request));
    if (outcome.status === "fulfilled") progress.completed += 1;
    else progress.failed += 1;
    options.onProgress?.({ ...progress });
    return outcome;
  };
  return Promise.all(requests.map((request) => queue.add(() => one(request))));
}

async function settle(running: Promise<GenerationResult>): Promise<BatchOutcome> {
  try {
    return { status: "fulfilled", value: await running };
  } catch (error) {
    return { status: "rejected", reason: asClaraError(error) };
  }
}
