import { setTimeout as delay } from "node:timers/promises";
import { AbortedError, ClaraError, OverloadedError } from "../errors.js";
import { type ImportedLine, MAX_LINE_BYTES, splitLines } from "../support/line-splitter.js";
import type { CallOptions } from "../types/common.js";
import type { FeedbackInput, FeedbackReceipt } from "../types/feedback.js";
import type { UnreadableFeedback } from "./feedback-intake.js";

/** Options of `importFeedback`. */
export interface ImportOptions extends CallOptions {
  /** Lines in work at the same time. Default 64. */
  concurrency?: number;
  /** Called after each line. */
  onProgress?: (progress: ImportProgress) => void;
  /** `source` of lines that name none. Default `import`. */
  source?: string;
  /** Milliseconds to wait while the buffer is full and nothing else moves, before the import gives up. Default 600,000. */
  maxWaitMs?: number;
}

/** Counts of an import so far. */
export interface ImportProgress {
  /** Lines that are decided, without empty ones. */
  lines: number;
  accepted: number;
  rejected: number;
  duplicates: number;
  review: number;
  /** True while a full buffer holds the import up. */
  isWaiting: boolean;
}

/** The result of an import. */
export interface ImportResult extends Omit<ImportProgress, "isWaiting"> {
  /** The first 50 lines that were rejected, or gave a used idempotency key other content. */
  errors: { line: number; code: string; message: string }[];
}

/** What the import drives. */
export interface ImportTarget {
  add(input: FeedbackInput, options: CallOptions): Promise<FeedbackReceipt>;
  addUnreadable(unreadable: UnreadableFeedback, options: CallOptions): Promise<FeedbackReceipt>;
}

const MAX_ERRORS = 50;

/**
 * Imports JSON lines (`prompt`, `response`, `rating`, `correction?`, `domain?`, `subjectId?`, `importance?`). A line that cannot be read
 * is recorded as received and rejected, with its number; the rest goes on. While the buffer is full it waits.
 */
export async function importLines(
  source: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
  target: ImportTarget,
  options: ImportOptions,
): Promise<ImportResult> {
  const { signal, concurrency = 64, onProgress } = options;
  const progress: ImportProgress = { lines: 0, accepted: 0, rejected: 0, duplicates: 0, review: 0, isWaiting: false };
  const errors: ImportResult["errors"] = [];
  const inWork = new Set<Promise<void>>();
  const stop = new AbortController();
  const either = AbortSignal.any([stop.signal, ...(signal ? [signal] : [])]);
  let lastMove = Date.now();
  let failure: { error: unknown } | null = null;
  const takeLine = async (line: ImportedLine) => {
    const read = readLine(line);
    if (read === null) return;
    const receipt = await importOne(read, line.number);
    lastMove = Date.now();
    progress.isWaiting = false;
    progress.lines++;
    progress[receipt.status === "duplicate" ? "duplicates" : receipt.status]++;
    const isReused = receipt.code === "idempotency_key_reused";
    if ((receipt.status === "rejected" || isReused) && errors.length < MAX_ERRORS) {
      const code = "code" in read ? read.code : isReused ? "idempotency_key_reused" : "rejected";
      errors.push({ line: line.number, code, message: receipt.reason ?? "rejected" });
    }
    onProgress?.({ ...progress });
  };
  const importOne = async (read: ReadLine, number: number): Promise<FeedbackReceipt> => {
    for (;;) {
      try {
        if (!("code" in read))
          return await target.add({ source: options.source ?? "import", ...read.feedback } as FeedbackInput, { signal: either });
      } catch (error) {
        if (error instanceof OverloadedError) {
          await waitForPlace(error);
          continue;
        }
        if (!isInputError(error)) throw error;
        read = Object.assign(read, { code: error.code, reason: error.message });
      }
      if ("code" in read) return target.addUnreadable(unreadableAt(number, read.code, read.reason), { signal: either });
    }
  };
  const waitForPlace = async (error: OverloadedError) => {
    if (Date.now() - lastMove > (options.maxWaitMs ?? 600_000)) throw error;
    if (!progress.isWaiting) {
      progress.isWaiting = true;
      onProgress?.({ ...progress });
    }
    await delay(Math.min(error.retryAfterMs, 1_000), undefined, { signal: either }).catch(() => {
      throw new AbortedError("The import was aborted while it waited for a place in the buffer.");
    });
  };
  try {
    for await (const line of splitLines(source)) {
      if (either.aborted) break;
      const work = takeLine(line)
        .catch((error: unknown) => {
          failure ??= { error };
          stop.abort();
        })
        .finally(() => inWork.delete(work));
      inWork.add(work);
      if (inWork.size >= concurrency) await Promise.race(inWork);
    }
  } catch (error) {
    failure ??= { error };
    stop.abort();
  }
  await Promise.all(inWork);
  if (signal?.aborted)
    throw new AbortedError(`The import was aborted after ${progress.lines} lines; those are stored.`, { details: { ...progress } });
  if (failure !== null) throw (failure as { error: unknown }).error;
  const { isWaiting: _isWaiting, ...counts } = progress;
  return { ...counts, errors: errors.sort((left, right) => left.line - right.line) };
}

type ReadLine = { feedback: object } | { code: string; reason: string };

/** Null for an empty line. */
function readLine(line: ImportedLine): ReadLine | null {
  if ("code" in line) {
    const reason = line.code === "invalid_utf8" ? "the line is not valid UTF-8" : `the line has more than ${MAX_LINE_BYTES} bytes`;
    return { code: line.code, reason: `line ${line.number}: ${reason}` };
  }
  if (line.text.trim() === "") return null;
  try {
    const value: unknown = JSON.parse(line.text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { feedback: withoutNulls(value) };
    return { code: "invalid_json", reason: `line ${line.number}: it is JSON, but not an object` };
  } catch {
    return { code: "invalid_json", reason: `line ${line.number}: it is not JSON` };
  }
}

/** Exporters write `null` for what is absent. */
function withoutNulls(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null));
}

function unreadableAt(number: number, code: string, reason: string): UnreadableFeedback {
  const text = reason.startsWith("line ") ? reason : `line ${number}: ${reason}`;
  return { code, reason: text, source: "import", metadata: { line: number } };
}

function isInputError(error: unknown): error is ClaraError {
  return (
    ClaraError.isInstance(error) && ["feedback_invalid", "input_invalid", "payload_too_large", "generation_not_found"].includes(error.code)
  );
}
