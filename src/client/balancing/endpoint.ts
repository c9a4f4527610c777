import PQueue from "p-queue";
import { ClaraError, ConfigurationError, OverloadedError, RuntimeUnavailableError } from "../../errors.js";
import type { Endpoint as Address, EndpointProvider } from "../../types/common.js";
import { AttemptError } from "../http/attempt-error.js";
import type { CallScope } from "../http/call-scope.js";
import { Connection, type ConnectionSettings } from "../http/connection.js";

/** First rest of an endpoint that failed, milliseconds; doubled with each failure in a row. */
const FIRST_REST_MS = 500;
const LONGEST_REST_MS = 30_000;

/** One place where the model is served: its address, its limit, and how it has done lately. */
export class Endpoint {
  private readonly queue: PQueue;
  private failuresInARow = 0;
  private restsUntil = 0;
  private meanMs = 1_000;
  private known: { address: Address; connection: Connection } | null = null;

  private readonly provider: EndpointProvider;
  private readonly settings: ConnectionSettings;
  private readonly limits: { maxConcurrency: number; maxWaiting: number };

  constructor(provider: EndpointProvider, settings: ConnectionSettings, limits: { maxConcurrency: number; maxWaiting: number }) {
    this.provider = provider;
    this.settings = settings;
    this.limits = limits;
    this.queue = new PQueue({ concurrency: limits.maxConcurrency });
  }

  /** Its URL once it is known, else its provider's name. */
  get name(): string {
    return this.known?.connection.url ?? this.provider.name;
  }

  get isResting(): boolean {
    return this.restsUntil > performance.now();
  }

  /** Asks the provider where it listens now. */
  async connect(scope: CallScope): Promise<Connection> {
    let address: Address;
    try {
      address = await this.provider.resolve({ signal: scope.signal });
    } catch (error) {
      scope.throwIfOver();
      throw new AttemptError(this.unresolved(error), { failover: true, retry: ClaraError.isInstance(error) ? error.isRetryable : true });
    }
    scope.throwIfOver();
    const { known } = this;
    if (known !== null && known.address.url === address.url && known.address.token === address.token) return known.connection;
    const connection = new Connection(baseUrl(address.url), address.token, this.settings);
    this.known = { address, connection };
    return connection;
  }

  /** Waits for one of the endpoint's slots; call the function that it gives to free it. */
  async acquire(scope: CallScope): Promise<() => void> {
    const { maxConcurrency, maxWaiting } = this.limits;
    const isFull = this.queue.pending >= maxConcurrency && this.queue.size >= maxWaiting;
    if (isFull) {
      const retryAfterMs = Math.ceil((this.meanMs * (this.queue.size + 1)) / maxConcurrency);
      const message = `${this.queue.pending} requests run and ${this.queue.size} wait at ${this.name} (maxConcurrency, maxWaiting).`;
      throw new AttemptError(new OverloadedError("overloaded", message, retryAfterMs, { details: { endpoint: this.name } }), {
        failover: true,
        retry: false,
      });
    }
    let release: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      release = resolve;
    });
    await new Promise<void>((start, reject) => {
      const hold = () => {
        start();
        return done;
      };
      // an abort while it runs frees the slot as well, and then nobody waits for this rejection
      this.queue.add(hold, { signal: scope.signal }).catch(() => reject(scope.reason));
    });
    return release;
  }

  succeeded(latencyMs: number): void {
    this.failuresInARow = 0;
    this.restsUntil = 0;
    this.meanMs += (latencyMs - this.meanMs) / 8;
  }

  /** Others are preferred for a while. */
  failed(): void {
    this.failuresInARow += 1;
    this.rest(Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** (this.failuresInARow - 1)));
  }

  rest(durationMs: number): void {
    this.restsUntil = performance.now() + durationMs;
  }

  private unresolved(error: unknown): ClaraError {
    if (ClaraError.isInstance(error)) return error;
    const message = `${this.provider.name} is not there: ${error instanceof Error ? error.message : String(error)}. ${this.settings.startHint}`;
    return new RuntimeUnavailableError(this.settings.unavailableCode, message, { cause: error, details: { endpoint: this.provider.name } });
  }
}

/** A provider for a fixed URL. */
export function fixedEndpoint(url: string, token: string | undefined): EndpointProvider {
  const address: Address = { url: baseUrl(url), token };
  const resolved = Promise.resolve(address);
  return { name: address.url, resolve: () => resolved };
}

/** The URL without `/v1` and without a slash at its end; `ConfigurationError` where it is not one of http or https. */
function baseUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.protocol !== "http:" && parsed.protocol !== "https:")) {
    throw new ConfigurationError(
      "config_invalid",
      `ServingClient: endpoints: ${JSON.stringify(url.slice(0, 200))} is not an http or https URL.`,
    );
  }
  if (parsed.username !== "" || parsed.password !== "" || parsed.search !== "" || parsed.hash !== "") {
    throw new ConfigurationError(
      "config_invalid",
      `ServingClient: endpoints: ${parsed.host}: give no password, query or hash in the URL; a token goes into the option token.`,
    );
  }
  return (parsed.origin + parsed.pathname).replace(/\/+$/, "").replace(/\/v1$/, "").replace(/\/+$/, "");
}
