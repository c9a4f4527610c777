import PQueue from "p-queue";
import { ClaraError, type ClaraErrorCode, ConfigurationError, OverloadedError, RuntimeUnavailableError } from "../../errors.js";
import type { Endpoint as Address, EndpointProvider } from "../../types/common.js";
import { AttemptError } from "../http/attempt-error.js";
import type { CallScope } from "../http/call-scope.js";
import { Connection, type ConnectionSettings } from "../http/connection.js";
import { AdapterShelf } from "./adapter-shelf.js";
import { AdapterTurns } from "./adapter-turns.js";
import { Circuit } from "./circuit.js";

/** How long a call is taken to hold its slot before any has shown it, milliseconds. */
const ASSUMED_MS = 1_000;

/** One place where the model is served: its address, its limits, its adapters, and how it has done lately. */
export class Endpoint {
  readonly circuit = new Circuit();
  readonly turns = new AdapterTurns();
  readonly shelf = new AdapterShelf();
  private readonly queue: PQueue;
  /** Mean time for which a call holds its slot. */
  private meanMs: number | null = null;
  /** Why it is spared; null while it answers. */
  lastError: { code: ClaraErrorCode; message: string } | null = null;
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

  /** True once it was reached, so that asking how it is starts nothing. */
  get isKnown(): boolean {
    return this.known !== null;
  }

  /** Calls that run and wait. */
  get load(): number {
    return this.queue.pending + this.queue.size + this.turns.waiting;
  }

  /** True where this provider is the one of the URL or of the object. */
  isOf(place: string | EndpointProvider): boolean {
    return typeof place === "string" ? this.name === baseUrl(place) : this.provider === place;
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
    if (address.token !== undefined) checkToken(address.token, this.provider.name);
    const { known } = this;
    if (known !== null && known.address.url === address.url && known.address.token === address.token) return known.connection;
    const connection = new Connection(baseUrl(address.url), address.token, this.settings);
    this.known = { address, connection };
    this.shelf.doubt();
    return connection;
  }

  /** Waits for the adapter's turn and for one of the endpoint's slots; call the function that it gives to free both. */
  async acquire(scope: CallScope, adapterId: string | null): Promise<() => void> {
    const { maxConcurrency, maxWaiting } = this.limits;
    const waiting = this.queue.size + this.turns.waiting;
    const isFull = this.queue.pending >= maxConcurrency || this.turns.waiting > 0;
    if (isFull && waiting >= maxWaiting) {
      const retryAfterMs = Math.ceil(((this.meanMs ?? ASSUMED_MS) * (waiting + 1)) / maxConcurrency);
      const message = `${this.queue.pending} requests run and ${waiting} wait at ${this.name} (maxConcurrency, maxWaiting). Try again in ${retryAfterMs} ms.`;
      throw new AttemptError(new OverloadedError("overloaded", message, retryAfterMs, { details: { endpoint: this.name } }), {
        failover: true,
        retry: false,
      });
    }
    const endTurn = adapterId === null ? () => undefined : await this.turns.enter(adapterId, scope);
    try {
      const freeSlot = await this.slot(scope);
      const startedAt = performance.now();
      return () => {
        const heldMs = performance.now() - startedAt;
        this.meanMs = this.meanMs === null ? heldMs : this.meanMs + (heldMs - this.meanMs) / 8;
        freeSlot();
        endTurn();
      };
    } catch (error) {
      endTurn();
      throw error;
    }
  }

  succeeded(): void {
    this.circuit.succeeded();
    this.lastError = null;
  }

  /** It is to blame: it is spared for a while, and may be another process afterwards. */
  failed({ code, message }: { code: ClaraErrorCode; message: string }): void {
    this.circuit.failed();
    this.shelf.doubt();
    this.lastError = { code, message };
  }

  private async slot(scope: CallScope): Promise<() => void> {
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const free = () => {
      scope.signal.removeEventListener("abort", free);
      resolve();
    };
    // an abort frees the slot at once, also where the call has not ended by it yet
    scope.signal.addEventListener("abort", free);
    if (this.queue.size === 0 && this.queue.pending < this.limits.maxConcurrency) {
      // it starts at once; to watch a signal would cost p-queue as much as all the rest
      void this.queue.add(() => done);
      return free;
    }
    await new Promise<void>((start, reject) => {
      const hold = () => {
        start();
        return done;
      };
      // an abort while it runs is a rejection too, and then nobody waits for it
      this.queue.add(hold, { signal: scope.signal }).catch(() => reject(scope.reason));
    });
    return free;
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
  if (token !== undefined) checkToken(token, address.url);
  const resolved = Promise.resolve(address);
  return { name: address.url, resolve: () => resolved };
}

/** A header takes visible ASCII only; a line break at the end of a token comes from reading it out of a file. */
function checkToken(token: string, endpoint: string): void {
  if (/^[\x21-\x7e]*$/.test(token)) return;
  const message = `ServingClient: token: the token for ${endpoint} has white space, line breaks or letters beyond ASCII; trim it.`;
  throw new ConfigurationError("config_invalid", message, { details: { field: "token", endpoint } });
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
