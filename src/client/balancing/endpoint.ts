import { ClaraError, ConfigurationError, OverloadedError, RuntimeUnavailableError } from "../../errors.js";
import type { Endpoint as Address, EndpointProvider } from "../../types/common.js";
import { AttemptError } from "../http/attempt-error.js";
import type { CallScope } from "../http/call-scope.js";
import { Connection, type ConnectionSettings } from "../http/connection.js";
import { AdapterShelf } from "./adapter-shelf.js";
import { AdapterTurns } from "./adapter-turns.js";
import { Circuit } from "./circuit.js";
import { Slots } from "./slots.js";

/** One place where the model is served: its address, its limits, its adapters, and how it has done lately. */
export class Endpoint {
  readonly circuit = new Circuit();
  readonly turns = new AdapterTurns();
  readonly shelf = new AdapterShelf();
  private readonly slots: Slots;
  private meanMs = 1_000;
  private known: { address: Address; connection: Connection } | null = null;

  private readonly provider: EndpointProvider;
  private readonly settings: ConnectionSettings;
  private readonly limits: { maxConcurrency: number; maxWaiting: number };

  constructor(provider: EndpointProvider, settings: ConnectionSettings, limits: { maxConcurrency: number; maxWaiting: number }) {
    this.provider = provider;
    this.settings = settings;
    this.limits = limits;
    this.slots = new Slots(limits.maxConcurrency);
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
    return this.slots.taken + this.slots.waiting + this.turns.waiting;
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
    const waiting = this.slots.waiting + this.turns.waiting;
    const isFull = this.slots.taken >= maxConcurrency || this.turns.waiting > 0;
    if (isFull && waiting >= maxWaiting) {
      const retryAfterMs = Math.ceil((this.meanMs * (waiting + 1)) / maxConcurrency);
      const message = `${this.slots.taken} requests run and ${waiting} wait at ${this.name} (maxConcurrency, maxWaiting).`;
      throw new AttemptError(new OverloadedError("overloaded", message, retryAfterMs, { details: { endpoint: this.name } }), {
        failover: true,
        retry: false,
      });
    }
    const endTurn = adapterId === null ? () => undefined : await this.turns.enter(adapterId, scope);
    try {
      const freeSlot = await this.slots.take(scope);
      return () => {
        freeSlot();
        endTurn();
      };
    } catch (error) {
      endTurn();
      throw error;
    }
  }

  /** A call succeeded, and took so long. */
  succeeded(latencyMs: number): void {
    this.circuit.succeeded();
    this.meanMs += (latencyMs - this.meanMs) / 8;
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
