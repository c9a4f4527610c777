import { setTimeout as delay } from "node:timers/promises";
import pRetry, { type RetryContext } from "p-retry";
import type { Logger } from "../../types/common.js";
import { Attempt } from "../http/attempt.js";
import { AttemptError } from "../http/attempt-error.js";
import type { CallScope } from "../http/call-scope.js";
import type { ServingRetries } from "../options.js";
import type { Endpoint } from "./endpoint.js";

/** What is done at one endpoint. It calls `attempt.finish()` when it is through, unless it fails. */
export type Work<Result> = (attempt: Attempt) => Promise<Result>;

/** Brings a call to an endpoint: healthy ones in turn, another one at once where one fails, then again after a pause. */
export class Dispatcher {
  private turn = -1;

  readonly endpoints: readonly Endpoint[];
  private readonly retries: ServingRetries;
  private readonly logger: Logger;

  constructor(endpoints: readonly Endpoint[], retries: ServingRetries, logger: Logger) {
    this.endpoints = endpoints;
    this.retries = retries;
    this.logger = logger;
  }

  /** Runs `work` at whichever endpoint answers, in one of its slots; rejects with `AttemptError` or the scope's reason. */
  run<Result>(scope: CallScope, work: Work<Result>): Promise<Result> {
    return this.retried(scope, () => this.overEndpoints(scope, work));
  }

  /** Runs `work` at one endpoint, beside its slots: adapters must come and go also where questions wait in line. */
  at<Result>(endpoint: Endpoint, scope: CallScope, work: Work<Result>): Promise<Result> {
    return this.retried(scope, () => this.probe(endpoint, scope, work));
  }

  /** Runs `work` at one endpoint, beside its slots, without retries. */
  probe<Result>(endpoint: Endpoint, scope: CallScope, work: Work<Result>): Promise<Result> {
    return this.attempt(endpoint, scope, () => undefined, work);
  }

  private retried<Result>(scope: CallScope, task: () => Promise<Result>): Promise<Result> {
    const { max, minDelayMs, maxDelayMs } = this.retries;
    return pRetry(task, {
      retries: max,
      minTimeout: minDelayMs,
      maxTimeout: maxDelayMs,
      randomize: true,
      signal: scope.signal,
      shouldRetry: ({ error }) => error instanceof AttemptError && error.options.retry,
      onFailedAttempt: (context) => this.beforeRetry(scope, context),
    });
  }

  private async attempt<Result>(endpoint: Endpoint, scope: CallScope, release: () => void, work: Work<Result>): Promise<Result> {
    let attempt: Attempt | null = null;
    try {
      const startedAt = performance.now();
      attempt = new Attempt(scope, await endpoint.connect(scope), release);
      const result = await work(attempt);
      endpoint.succeeded(performance.now() - startedAt);
      return result;
    } catch (error) {
      if (attempt === null) release();
      else attempt.finish();
      scope.throwIfOver();
      throw error;
    }
  }

  private async overEndpoints<Result>(scope: CallScope, work: Work<Result>): Promise<Result> {
    let failure: AttemptError | null = null;
    for (const endpoint of this.inTurn()) {
      try {
        return await this.attempt(endpoint, scope, await endpoint.acquire(scope), work);
      } catch (error) {
        if (!(error instanceof AttemptError) || !error.options.failover) throw error;
        this.note(endpoint, error);
        failure = failure === null || error.options.retry || !failure.options.retry ? error : failure;
      }
    }
    throw failure;
  }

  /** Every endpoint once, starting at the next one's turn; those that failed lately come last. */
  private inTurn(): readonly Endpoint[] {
    const { endpoints } = this;
    if (endpoints.length === 1) return endpoints;
    this.turn = (this.turn + 1) % endpoints.length;
    const rotated = [...endpoints.slice(this.turn), ...endpoints.slice(0, this.turn)];
    return [...rotated.filter((endpoint) => !endpoint.isResting), ...rotated.filter((endpoint) => endpoint.isResting)];
  }

  private note(endpoint: Endpoint, { error, options }: AttemptError): void {
    if (error.code === "rate_limited") endpoint.rest(options.retryAfterMs ?? this.retries.minDelayMs);
    else if (error.code !== "overloaded") endpoint.failed();
    this.logger.debug({ endpoint: endpoint.name, code: error.code }, "an endpoint failed");
  }

  /** Waits for what `retry-after` asks beyond the pause that follows anyhow. */
  private async beforeRetry(scope: CallScope, { error, retryDelay, retriesLeft }: RetryContext): Promise<void> {
    scope.throwIfOver();
    if (!(error instanceof AttemptError) || !error.options.retry || retriesLeft === 0) return;
    const { retryAfterMs = 0 } = error.options;
    if (retryAfterMs > Math.min(this.retries.maxRetryAfterMs, scope.remainingMs)) throw error;
    this.logger.debug({ code: error.error.code, retriesLeft, delayMs: Math.max(retryDelay, retryAfterMs) }, "trying again");
    if (retryAfterMs <= retryDelay) return;
    await delay(retryAfterMs - retryDelay, undefined, { signal: scope.signal }).catch(() => scope.throwIfOver());
  }
}
