import { type ClaraError, EngineError } from "../../errors.js";
import { AttemptError } from "./attempt-error.js";
import type { CallScope } from "./call-scope.js";
import type { Connection } from "./connection.js";

/** One try of a call at one endpoint, with the timer of the phase it is in. */
export class Attempt {
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout | null = null;
  private timerMs = 0;
  private phase: string | null = null;
  private isOver = false;
  /** Why this attempt was ended from our side. */
  reason: ClaraError | AttemptError | null = null;

  readonly scope: CallScope;
  readonly connection: Connection;
  private readonly onFinish: (attempt: Attempt) => void;

  constructor(scope: CallScope, connection: Connection, onFinish: (attempt: Attempt) => void) {
    this.scope = scope;
    this.connection = connection;
    this.onFinish = onFinish;
    if (scope.reason !== null) this.abort(scope.reason);
    else scope.signal.addEventListener("abort", this.onScopeAbort);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Starts the clock of a phase, for example `headers`; a clock that ran before is stopped. */
  enter(phase: string, limitMs: number): void {
    this.phase = phase;
    if (this.timer !== null && this.timerMs === limitMs) {
      this.timer.refresh();
      return;
    }
    if (this.timer !== null) clearTimeout(this.timer);
    this.timerMs = limitMs;
    this.timer = setTimeout(this.onTimeout, limitMs);
  }

  /** Stops the clock without taking it down: the next `enter` is cheap. */
  park(): void {
    this.phase = null;
  }

  abort(reason: ClaraError | AttemptError): void {
    if (this.reason !== null) return;
    this.reason = reason;
    this.controller.abort(reason);
  }

  /** Frees the timer, the listener and the endpoint's slot; idempotent. */
  finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.scope.signal.removeEventListener("abort", this.onScopeAbort);
    this.onFinish(this);
  }

  private readonly onScopeAbort = () => {
    if (this.scope.reason !== null) this.abort(this.scope.reason);
  };

  private readonly onTimeout = () => {
    if (this.phase === null) return;
    const message = `The engine at ${this.connection.url} gave no ${this.phase} within ${this.timerMs} ms.`;
    const error = new EngineError("request_timeout", message, {
      isRetryable: true,
      details: { endpoint: this.connection.url, phase: this.phase },
    });
    this.abort(new AttemptError(error, { failover: true, retry: false }));
  };
}
