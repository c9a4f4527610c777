import { AbortedError, type ClaraError, EngineError, NotFoundError, ValidationError } from "../errors.js";
import type { AdapterIdentity } from "../types/adapter.js";
import type { AdapterProof } from "../types/proof.js";
import { loadWithRoom, pause } from "./adapter-room.js";
import type { Dispatcher } from "./balancing/dispatcher.js";
import type { Endpoint } from "./balancing/endpoint.js";
import type { EngineIntroduction } from "./balancing/engine-introduction.js";
import type { Engine, ServedModel } from "./engines/engine.js";
import type { Attempt } from "./http/attempt.js";
import { AttemptError } from "./http/attempt-error.js";
import type { CallScope } from "./http/call-scope.js";
import { asClaraError } from "./http/engine-errors.js";
import type { AdapterDirectory } from "./ports.js";
import { type ProofOptions, proveAdapter } from "./proof/prove-adapter.js";
import { RevokedAdapter } from "./revoked-adapter.js";

/** What `loadAdapter` takes. */
export interface AdapterFiles {
  /** `name@vN`, the name under which requests ask for it. */
  id: string;
  /** Folder on the engine's machine. */
  path: string;
  /** What the trainer recorded; default: what the directory of adapters knows. */
  identity?: AdapterIdentity;
  /** What serves now and must be told apart from it, if that is possible. */
  predecessorId?: string | null;
}

/** What `loadAdapter` did at each endpoint. */
export interface LoadedAdapter {
  id: string;
  /** `already_loaded`: at every endpoint. */
  status: "loaded" | "already_loaded";
  endpoints: { endpoint: string; status: "loaded" | "already_loaded"; proof: AdapterProof | null }[];
}

/** What `unloadAdapter` did at each endpoint. */
export interface UnloadedAdapter {
  id: string;
  endpoints: { endpoint: string; status: "unloaded" | "not_loaded" }[];
}

/** An adapter that at least one endpoint serves. */
export interface ServedAdapter {
  id: string;
  /** Folder, where the engine says so. */
  path: string | null;
  /** Base URLs that serve it. */
  endpoints: string[];
}

interface Outcome<Result> {
  endpoint: Endpoint;
  name: string;
  result?: Result;
  error?: ClaraError;
}

/** What every placement works with. */
export interface PlacementParts {
  dispatcher: Dispatcher;
  engine: Engine;
  introduction: EngineIntroduction;
  adminMs: number;
  /** How long running requests may take before an adapter is taken away from under them. */
  drainMs: number;
  proof: ProofOptions;
  directory: AdapterDirectory | undefined;
  openScope: () => CallScope;
}

const DRAIN_LOOK_MS = 10;

/** Brings adapters to the endpoints and takes them away, at all of them or at none; none answers before it has shown what it serves. */
export class AdapterPlacement {
  readonly #parts: PlacementParts;

  constructor(parts: PlacementParts) {
    this.#parts = parts;
  }

  async load(scope: CallScope, adapter: AdapterFiles): Promise<LoadedAdapter> {
    const identity = adapter.identity ?? (await this.#identityOf(adapter.id));
    const foundAt = new Set<Endpoint>();
    const outcomes = await this.#everywhere(scope, async (attempt, endpoint) => {
      await this.#parts.introduction.meet(attempt, endpoint);
      const { shelf } = endpoint;
      if (shelf.isReady(adapter.id) || shelf.description?.models.some(({ id }) => id === adapter.id)) foundAt.add(endpoint);
      return shelf.alone(adapter.id, () => this.#loadAndProve(attempt, endpoint, { ...adapter, identity }));
    });
    const failed = outcomes.filter((outcome) => outcome.error !== undefined);
    if (failed.length > 0) throw await this.#undo(adapter.id, outcomes, foundAt);
    const endpoints = outcomes.map(({ name, result }) => ({ endpoint: name, ...result! }));
    return {
      id: adapter.id,
      status: endpoints.every(({ status }) => status === "already_loaded") ? "already_loaded" : "loaded",
      endpoints,
    };
  }

  /** Asks every endpoint for proof anew, and reports what each says. */
  async verify(scope: CallScope, adapter: Omit<AdapterFiles, "path">): Promise<AdapterProof[]> {
    const identity = adapter.identity ?? (await this.#identityOf(adapter.id));
    const outcomes = await this.#everywhere(scope, async (attempt, endpoint) => {
      await this.#parts.introduction.meet(attempt, endpoint);
      await this.#expectServed(attempt, adapter.id);
      return this.#prove(attempt, endpoint, { ...adapter, identity });
    });
    throwFailures(scope, outcomes, `Adapter ${adapter.id} could not be verified everywhere`);
    return outcomes.map(({ result }) => result!);
  }

  async unload(scope: CallScope, id: string): Promise<UnloadedAdapter> {
    const outcomes = await this.#everywhere(scope, (attempt, endpoint) => this.#takeAway(attempt, endpoint, id));
    throwFailures(scope, outcomes, `Adapter ${id} was not unloaded everywhere`);
    return { id, endpoints: outcomes.map(({ name, result }) => ({ endpoint: name, status: result! })) };
  }

  async list(scope: CallScope): Promise<ServedAdapter[]> {
    const outcomes = await this.#everywhere(scope, (attempt) => this.#parts.engine.models(attempt));
    throwFailures(scope, outcomes, "The adapters cannot be listed");
    const found = new Map<string, ServedAdapter>();
    for (const { name, result } of outcomes) {
      for (const { id, path, isAdapter } of result!) {
        if (!isAdapter) continue;
        const known = found.get(id);
        if (known === undefined) found.set(id, { id, path, endpoints: [name] });
        else known.endpoints.push(name);
      }
    }
    return [...found.values()];
  }

  /** Everything that one endpoint serves. */
  models(attempt: Attempt): Promise<ServedModel[]> {
    attempt.enter("list of models", this.#parts.adminMs);
    return this.#parts.engine.models(attempt);
  }

  /**
   * Resolves when the endpoint may answer for the adapter: at once where it has shown that it serves it, else after it was loaded, where
   * it must be, and has shown so. Calls at the same time share the work.
   */
  async ready(attempt: Attempt, endpoint: Endpoint, id: string): Promise<void> {
    const { directory, introduction } = this.#parts;
    await introduction.meet(attempt, endpoint);
    // what is awaited may also be that it goes, for others to have room
    while (directory !== undefined && !endpoint.shelf.isReady(id)) {
      await endpoint.shelf.once(id, async () => {
        await this.#bring(attempt, endpoint, id, directory);
        attempt.park();
      });
    }
    endpoint.shelf.touch(id);
  }

  /** The engine said that it does not have the adapter: where it was restarted, it gets it again. */
  async restore(attempt: Attempt, endpoint: Endpoint, id: string): Promise<void> {
    const { url } = attempt.connection;
    endpoint.shelf.forget(id);
    if (this.#parts.directory === undefined) throw notServed(url, id);
    endpoint.shelf.doubt();
    await this.ready(attempt, endpoint, id);
  }

  async #expectServed(attempt: Attempt, id: string): Promise<void> {
    const { engine } = this.#parts;
    if (!engine.traits.listsModels || (await engine.models(attempt)).some((model) => model.id === id)) return;
    throw notServed(attempt.connection.url, id);
  }

  async #bring(attempt: Attempt, endpoint: Endpoint, id: string, directory: AdapterDirectory): Promise<void> {
    const { path, revokedReason } = await directory.getAdapter(id);
    if (revokedReason !== undefined) throw new RevokedAdapter(id, revokedReason);
    await this.#loadAndProve(attempt, endpoint, { id, path, identity: await this.#identityOf(id) });
  }

  async #identityOf(id: string): Promise<AdapterIdentity | undefined> {
    const { directory, proof } = this.#parts;
    if (proof.mode === "off" || directory?.adapterIdentity === undefined) return undefined;
    try {
      return (await directory.adapterIdentity(id)) ?? undefined;
    } catch (error) {
      // what is not registered may be loaded by hand all the same
      if (asClaraError(error).code === "adapter_not_found") return undefined;
      throw error;
    }
  }

  async #loadAndProve(
    attempt: Attempt,
    endpoint: Endpoint,
    adapter: AdapterFiles,
  ): Promise<{ status: "loaded" | "already_loaded"; proof: AdapterProof | null }> {
    const { engine, proof: options } = this.#parts;
    checkRank(endpoint, adapter);
    const status = await loadWithRoom(this.#parts, attempt, endpoint, adapter);
    if (options.mode === "off") {
      endpoint.shelf.ready(adapter.id, null);
      return { status, proof: null };
    }
    const proof = await this.#prove(attempt, endpoint, adapter);
    const isEnough = proof.status === "proven" || (proof.status === "unrecorded" && options.mode === "recorded");
    if (isEnough) endpoint.shelf.ready(adapter.id, proof);
    else {
      endpoint.shelf.forget(adapter.id);
      if (status === "loaded") await engine.unloadAdapter(attempt, adapter.id);
      throw unproven(proof);
    }
    return { status, proof };
  }

  async #prove(attempt: Attempt, endpoint: Endpoint, { id, identity, predecessorId }: Omit<AdapterFiles, "path">): Promise<AdapterProof> {
    const { engine, adminMs, proof: options, introduction } = this.#parts;
    const startedAt = performance.now();
    const stamp = () => ({
      endpoint: attempt.connection.url,
      latencyMs: performance.now() - startedAt,
      provenAt: new Date().toISOString(),
    });
    if (identity === undefined) return { ...unrecorded(id, "its trainer left no fingerprint"), ...stamp() };
    const { prompts } = identity.fingerprint;
    attempt.enter("answer to a proof", adminMs);
    // a predecessor that this engine does not have says nothing
    const { shelf } = endpoint;
    const isThere = (model: string) => shelf.isReady(model) || shelf.description?.models.some((served) => served.id === model) === true;
    const ask = (model: string | null, prompt: number) =>
      engine.score(attempt, {
        model: model ?? introduction.baseModel,
        messages: prompts[prompt]!.messages as { role: "user"; content: string }[],
        maxTokens: Math.max(prompts[prompt]!.answer.token_ids.length, prompts[prompt]!.base.token_ids.length),
      });
    try {
      const predecessor = predecessorId && isThere(predecessorId) ? predecessorId : null;
      return { ...(await proveAdapter({ id, identity, predecessorId: predecessor }, ask, options)), ...stamp() };
    } catch (error) {
      const code = asClaraError(error).code;
      if (engine.traits.scoresAnswers || (code !== "engine_response_invalid" && code !== "engine_error")) throw error;
      return { ...unrecorded(id, `the engine gives no log-probabilities: ${asClaraError(error).message}`), ...stamp() };
    }
  }

  /** Waits for the requests that run on it, takes it away, and looks whether it is gone. */
  async #takeAway(attempt: Attempt, endpoint: Endpoint, id: string): Promise<"unloaded" | "not_loaded"> {
    const { engine, adminMs, drainMs } = this.#parts;
    endpoint.shelf.forget(id);
    const until = performance.now() + drainMs;
    while (endpoint.turns.callsOf(id) > 0 && performance.now() < until) await pause(DRAIN_LOOK_MS, attempt.signal);
    attempt.enter("answer to unloading an adapter", adminMs);
    // alone: a late question must not bring it back before this has seen that it is gone
    const { status, isGone } = await endpoint.shelf.alone(id, async () => {
      const status = await engine.unloadAdapter(attempt, id);
      return { status, isGone: status === "not_loaded" || !(await engine.models(attempt)).some((model) => model.id === id) };
    });
    if (isGone) return status;
    const { url } = attempt.connection;
    const error = new EngineError(
      "engine_response_invalid",
      `The engine at ${url} unloaded adapter ${id} and still serves it. Restart it.`,
      {
        details: { endpoint: url, id },
      },
    );
    throw new AttemptError(error, { failover: false, retry: false });
  }

  #everywhere<Result>(scope: CallScope, question: (attempt: Attempt, endpoint: Endpoint) => Promise<Result>): Promise<Outcome<Result>[]> {
    const { dispatcher, adminMs } = this.#parts;
    return Promise.all(
      dispatcher.pool.all.map(async (endpoint): Promise<Outcome<Result>> => {
        try {
          const result = await dispatcher.at(endpoint, scope, async (attempt) => {
            attempt.enter("answer", adminMs);
            const answer = await question(attempt, endpoint);
            attempt.finish();
            return answer;
          });
          return { endpoint, name: endpoint.name, result };
        } catch (error) {
          return { endpoint, name: endpoint.name, error: asClaraError(error) };
        }
      }),
    );
  }

  /** Takes away what was newly loaded; the error says what failed where, and what could not be taken back. */
  async #undo(
    id: string,
    outcomes: Outcome<{ status: "loaded" | "already_loaded" }>[],
    foundAt: ReadonlySet<Endpoint>,
  ): Promise<ClaraError> {
    const failed = outcomes.filter(({ error }) => error !== undefined);
    if (outcomes.length === 1) return failed[0]!.error!;
    // a call of its own: where the caller has aborted, the rest must be taken back all the same
    const scope = this.#parts.openScope();
    const { dispatcher, engine, adminMs } = this.#parts;
    // an engine whose answer the caller did not wait for may have loaded it all the same
    const mayBeLoaded = ({ endpoint, error }: Outcome<unknown>) => error instanceof AbortedError && !foundAt.has(endpoint);
    const loaded = outcomes.filter((outcome) => outcome.result?.status === "loaded" || mayBeLoaded(outcome));
    const attempts = await Promise.all(
      loaded.map(async ({ endpoint, name }) => {
        endpoint.shelf.forget(id);
        try {
          await dispatcher.at(endpoint, scope, async (attempt) => {
            attempt.enter("answer to unloading an adapter", adminMs);
            await engine.unloadAdapter(attempt, id);
            attempt.finish();
          });
          return { name, problem: null };
        } catch (error) {
          return { name, problem: asClaraError(error).message };
        }
      }),
    );
    scope.dispose();
    const undone = attempts.filter(({ problem }) => problem === null).map(({ name }) => name);
    const stuck = attempts.filter(({ problem }) => problem !== null).map(({ name, problem }) => `${name} (${problem})`);
    const notes = [
      undone.length === 0 ? "" : ` It was taken back from ${undone.join(", ")}.`,
      stuck.length === 0 ? "" : ` It could not be taken back from ${stuck.join(", ")}.`,
    ];
    return combined(`Adapter ${id} was not loaded everywhere`, failed, notes.join(""), { id, undone });
  }
}

/** An engine that says how large a rank it serves is not tried with a larger one. */
function checkRank(endpoint: Endpoint, { id, identity }: AdapterFiles): void {
  const largest = endpoint.shelf.description?.maxLoraRank ?? null;
  if (largest === null || identity === undefined || identity.rank <= largest) return;
  const message = `Adapter ${id} has rank ${identity.rank}, and ${endpoint.name} serves up to ${largest}: train a smaller one, or start the engine with a larger limit.`;
  const error = new ValidationError("adapter_invalid", message, { details: { id, rank: identity.rank, endpoint: endpoint.name } });
  throw new AttemptError(error, { failover: false, retry: false });
}

function notServed(url: string, id: string): AttemptError {
  const message = `The engine at ${url} does not serve adapter ${id}. Load it with loadAdapter({ id, path }).`;
  const error = new NotFoundError("adapter_not_found", message, { details: { id, endpoint: url } });
  return new AttemptError(error, { failover: false, retry: false });
}

function unrecorded(adapterId: string, problem: string): Omit<AdapterProof, "endpoint" | "latencyMs" | "provenAt"> {
  const unknown = { difference: null, tolerance: null, noise: null, fromBase: null, predecessorId: null, fromPredecessor: null };
  return { adapterId, status: "unrecorded", ...unknown, prompts: 0, problems: [problem] };
}

function unproven(proof: AdapterProof): AttemptError {
  const { adapterId, endpoint, problems } = proof;
  const message = `Adapter ${adapterId} takes no traffic at ${endpoint}: ${problems.join("; ")}.`;
  const error = new EngineError("adapter_unproven", message, { details: { id: adapterId, endpoint, proof } });
  return new AttemptError(error, { failover: true, retry: false });
}

function throwFailures(scope: CallScope, outcomes: Outcome<unknown>[], what: string): void {
  scope.throwIfOver();
  const failed = outcomes.filter((outcome) => outcome.error !== undefined);
  if (failed.length === 0) return;
  throw outcomes.length === 1 ? failed[0]!.error : combined(what, failed, "", {});
}

function combined(what: string, failed: Outcome<unknown>[], note: string, details: Record<string, unknown>): ClaraError {
  const errors = failed.map(({ error }) => error!);
  const reasons = failed.map(({ name, error }) => `${name}: ${error!.message}`).join(" ");
  return new EngineError(errors[0]!.code, `${what}: ${reasons}${note}`, {
    isRetryable: errors.every((error) => error.isRetryable),
    cause: errors.length === 1 ? errors[0] : new AggregateError(errors),
    details: { ...details, failed: failed.map(({ name, error }) => ({ endpoint: name, code: error!.code })) },
  });
}
