import { AbortedError } from "../errors.js";

/** Rejects what the caller does not wait for any more. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortedError("Routing was aborted.", { cause: signal.reason });
}
