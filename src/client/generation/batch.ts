import PQueue from "p-queue";
import type { ClaraError } from "../../errors.js";
import type { Logger } from "../../types/common.js";
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
  options: { concurrency: number; onProgress?: (progress: BatchProgress) => void; logger: Logger },
): Promise<BatchOutcome[]> {
  const queue = new PQueue({ concurrency: options.concurrency });
  const progress: BatchProgress = { completed: 0, failed: 0, total: requests.length };
  const one = async (request: GenerationRequest): Promise<BatchOutcome> => {
    const outcome = await settle(generate(request));
    if (outcome.status === "fulfilled") progress.completed += 1;
    else progress.failed += 1;
    tell(options, { ...progress });
    return outcome;
  };
  return Promise.all(requests.map((request) => queue.add(() => one(request))));
}

/** What goes wrong in the caller's function must not cost the answers. */
function tell({ onProgress, logger }: { onProgress?: (progress: BatchProgress) => void; logger: Logger }, progress: BatchProgress): void {
  try {
    onProgress?.(progress);
  } catch (error) {
    logger.warn({ error }, "onProgress of a batch failed; the batch goes on");
  }
}

async function settle(running: Promise<GenerationResult>): Promise<BatchOutcome> {
  try {
    return { status: "fulfilled", value: await running };
  } catch (error) {
    return { status: "rejected", reason: asClaraError(error) };
  }
}
