import { AbortedError } from "../errors.js";

/** Rejects a call whose signal has aborted before it changed anything. */
export function throwIfAborted(signal: AbortSignal | undefined, call: string): void {
  if (signal?.aborted) throw new AbortedError(`${call} was aborted.`, { cause: signal.reason });
}
