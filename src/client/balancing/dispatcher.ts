import { setTimeout as delay } from "node:timers/promises";
import pRetry, { type RetryContext } from "p-retry";
import { ClaraError, type ClaraErrorCode } from "../../errors.js";
import type { Logger } from "../../types/common.js";
import { Attempt } from "../http/attempt.js";
import { AttemptError } from "../http/attempt-error.js";
import type { CallScope } from "../http/call-scope.js";
import type { ServingHedging, ServingRetries } from "../options.js";
import type { Endpoint } from "./endpoint.js";
import type { EndpointPool } from "./endpoint-pool.js";

/** What is done at one endpoint. It calls `attempt.finish()` when it is through, unless it fails. */
export type Work<Result> = (attempt: Attempt, endpoint: Endpoint) => Promise<Result>;

/** Brings a call to an endpoint: the best one, another one at once where that fails, then again after a pause. */
export class Dispatcher {
  readonly pool: EndpointPool;
  private readonly retries: ServingRetries;
  private readonly hedging: ServingHedging | false;
  private readonly logger: Logger;

  constructor(pool: EndpointPool, options: { retries: ServingRetries; hedging: ServingHedging | false; logger: Logger }) {
    this.pool = pool;
    this.retries = options.retries;
    this.hedging = options.hedging;
    this.logger = options.logger;
  }

  /** Runs `work` at whichever endpoint answers, in one of its slots; rejects with `AttemptError` or the scope's reason. */
  run<Result>(scope: CallScope, adapterId: string | null, work: Work<Result>): Promise<Result> {
    return this.retried(scope, () => this.overEndpoints(scope, adapterId, work));
  }

  /** Runs `work` at one endpoint, beside its slots: adapters must come and go also where questions wait in line. */
  at<Result>(endpoint: Endpoint, scope: CallScope, work: Work<Result>): Promise<Result> {
    return this.retried(scope, () => this.probe(endpoint, scope, work));
  }

  /** Runs `work` at one endpoint, beside its slots, without retries. */
  async probe<Result>(endpoint: Endpoint, scope: CallScope, work: Work<Result>): Promise<Result> {
    try {
      return await this.attempt(endpoint, scope, () => undefined, work);
    } catch (error) {
      if (error instanceof AttemptError && error.error.code === "engine_unavailable") endpoint.shelf.doubt();
      throw error;
    }
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

  private async attempt<Result>(
    endpoint: Endpoint,
    scope: CallScope,
    release: () => void,
    work: Work<Result>,
    onStart: (attempt: Attempt) => void = () => undefined,
  ): Promise<Result> {
    let attempt: Attempt | null = null;
    try {
      attempt = new Attempt(scope, await endpoint.connect(scope), release);
      onStart(attempt);
      const result = await work(attempt, endpoint);
      endpoint.succeeded();
      return result;
    } catch (error) {
      if (attempt === null) release();
      else attempt.finish();
      scope.throwIfOver();
      throw error;
    }
  }

  private overEndpoints<Result>(scope: CallScope, adapterId: string | null, work: Work<Result>): Promise<Result> {
    const order = this.pool.inOrder(adapterId);
    if (this.hedging !== false && order.length > 1) return this.hedged(scope, adapterId, order, work, this.hedging.afterMs);
    return this.inTurn(scope, adapterId, order, work);
  }

  /** One endpoint after the other, until one answers. */
  private async inTurn<Result>(
    scope: CallScope,
    adapterId: string | null,
    order: Iterable<Endpoint>,
    work: Work<Result>,
    onStart?: (attempt: Attempt) => void,
  ): Promise<Result> {
    let failure: AttemptError | null = null;
    for (const endpoint of order) {
      try {
        const release = await endpoint.acquire(scope, adapterId);
        endpoint.circuit.began();
        return await this.attempt(endpoint, scope, release, work, onStart);
      } catch (error) {
        this.note(endpoint, error);
        if (!(error instanceof AttemptError) || !error.options.failover) throw error;
        failure = failure === null || error.options.retry || !failure.options.retry ? error : failure;
      }
    }
    throw failure ?? lostRace();
  }

  /**
   * Two lines over the same endpoints: the second begins where the first has given nothing after a while. The first text wins, and the
   * other line is ended. An endpoint that one line has tried the other does not try.
   */
  private async hedged<Result>(
    scope: CallScope,
    adapterId: string | null,
    order: readonly Endpoint[],
    work: Work<Result>,
    afterMs: number,
  ): Promise<Result> {
    const untried = order.values();
    const attempts = new Map<Attempt, number>();
    let winner: number | null = null;
    const line = (number: number) => {
      const first: Work<Result> = async (attempt, endpoint) => {
        const result = await work(attempt, endpoint);
        if (winner !== null && winner !== number) throw lostRace();
        winner = number;
        for (const [other, its] of attempts) if (its !== number) other.abort(lostRace());
        return result;
      };
      return this.inTurn(scope, adapterId, untried, first, (attempt) => attempts.set(attempt, number));
    };
    const first = line(1);
    const timer = new AbortController();
    const isSlow = await Promise.race([
      first.then(
        () => false,
        () => false,
      ),
      delay(afterMs, true, { signal: AbortSignal.any([timer.signal, scope.signal]) }).catch(() => false),
    ]);
    timer.abort();
    if (!isSlow) return first;
    this.logger.debug({ afterMs }, "no text yet: a second endpoint is asked");
    try {
      return await Promise.any([first, line(2)]);
    } catch (error) {
      scope.throwIfOver();
      throw (error as AggregateError).errors.find((one) => one instanceof AttemptError) ?? error;
    }
  }

  /** The endpoint is to blame; that it begins to be spared is news, that it still is is not. */
  failed(endpoint: Endpoint, error: { code: ClaraErrorCode; message: string }): void {
    const level = endpoint.circuit.state === "closed" ? "warn" : "debug";
    endpoint.failed(error);
    this.logger[level]({ endpoint: endpoint.name, code: error.code, error: error.message }, "an endpoint failed and is spared");
  }

  private note(endpoint: Endpoint, error: unknown): void {
    // a whole answer has no clock but the call's own
    if (ClaraError.isInstance(error) && error.code === "request_timeout") this.failed(endpoint, error);
    else if (!(error instanceof AttemptError) || !error.options.failover || error.error.code === "overloaded") endpoint.circuit.abandoned();
    else if (error.error.code !== "rate_limited") this.failed(endpoint, error.error);
    else {
      const restMs = error.options.retryAfterMs ?? this.retries.minDelayMs;
      endpoint.circuit.rest(restMs);
      this.logger.debug({ endpoint: endpoint.name, restMs }, "an endpoint asked to be spared");
    }
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

/** Of a hedged call the line that another has overtaken, or that found no endpoint left. */
function lostRace(): AttemptError {
  return new AttemptError(new ClaraError("internal", "Another endpoint answered first."), { failover: false, retry: false });
}
