import { AbortedError, type ClaraError, EngineError } from "../../errors.js";

/** The life of one call: ended by the caller's signal, its time limit, or `close()`, whichever is first. */
export class CallScope {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private readonly deadline: number;
  private readonly caller: AbortSignal | undefined;
  private readonly onDispose: (scope: CallScope) => void;
  /** Why the call is over before its time; null while it lives. */
  reason: ClaraError | null = null;

  constructor(options: { signal?: AbortSignal; limit: { ms: number; option: string }; onDispose(scope: CallScope): void }) {
    this.caller = options.signal;
    this.onDispose = options.onDispose;
    const { ms, option } = options.limit;
    this.deadline = performance.now() + ms;
    this.timer = setTimeout(() => {
      this.abort(new EngineError("request_timeout", `The call took longer than ${ms} ms (${option}).`, { isRetryable: true }));
    }, ms);
    if (this.caller?.aborted) this.onCallerAbort();
    else this.caller?.addEventListener("abort", this.onCallerAbort);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Milliseconds until the time limit. */
  get remainingMs(): number {
    return this.deadline - performance.now();
  }

  abort(reason: ClaraError): void {
    if (this.reason !== null) return;
    this.reason = reason;
    this.controller.abort(reason);
  }

  throwIfOver(): void {
    if (this.reason !== null) throw this.reason;
  }

  /** Frees the timer and the listener; idempotent. */
  dispose(): void {
    clearTimeout(this.timer);
    this.caller?.removeEventListener("abort", this.onCallerAbort);
    this.onDispose(this);
  }

  private readonly onCallerAbort = () => {
    this.abort(new AbortedError("The call was aborted by its signal.", { cause: this.caller?.reason }));
  };
}
