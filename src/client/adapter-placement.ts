import { type ClaraError, EngineError, NotFoundError } from "../errors.js";
import type { Dispatcher } from "./balancing/dispatcher.js";
import type { Endpoint } from "./balancing/endpoint.js";
import type { Engine, ServedModel } from "./engines/engine.js";
import type { Attempt } from "./http/attempt.js";
import { AttemptError } from "./http/attempt-error.js";
import type { CallScope } from "./http/call-scope.js";
import { asClaraError } from "./http/engine-errors.js";
import type { AdapterDirectory } from "./ports.js";

/** What `loadAdapter` did at each endpoint. */
export interface LoadedAdapter {
  id: string;
  /** `already_loaded`: at every endpoint. */
  status: "loaded" | "already_loaded";
  endpoints: { endpoint: string; status: "loaded" | "already_loaded" }[];
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

/** Brings adapters to the endpoints and takes them away: at all of them, or at none. */
export class AdapterPlacement {
  private readonly reloads = new Map<string, Promise<void>>();

  private readonly dispatcher: Dispatcher;
  private readonly engine: Engine;
  private readonly adminMs: number;
  private readonly directory: AdapterDirectory | undefined;
  private readonly openScope: () => CallScope;

  constructor(
    dispatcher: Dispatcher,
    engine: Engine,
    adminMs: number,
    directory: AdapterDirectory | undefined,
    openScope: () => CallScope,
  ) {
    this.dispatcher = dispatcher;
    this.engine = engine;
    this.adminMs = adminMs;
    this.directory = directory;
    this.openScope = openScope;
  }

  async load(scope: CallScope, adapter: { id: string; path: string }): Promise<LoadedAdapter> {
    const outcomes = await this.everywhere(scope, (attempt) => this.engine.loadAdapter(attempt, adapter));
    const failed = outcomes.filter((outcome) => outcome.error !== undefined);
    if (failed.length > 0) throw await this.undo(adapter.id, outcomes, failed);
    const endpoints = outcomes.map(({ name, result }) => ({ endpoint: name, status: result! }));
    return {
      id: adapter.id,
      status: endpoints.every(({ status }) => status === "already_loaded") ? "already_loaded" : "loaded",
      endpoints,
    };
  }

  async unload(scope: CallScope, id: string): Promise<UnloadedAdapter> {
    const outcomes = await this.everywhere(scope, (attempt) => this.engine.unloadAdapter(attempt, id));
    throwFailures(scope, outcomes, `Adapter ${id} was not unloaded everywhere`);
    return { id, endpoints: outcomes.map(({ name, result }) => ({ endpoint: name, status: result! })) };
  }

  async list(scope: CallScope): Promise<ServedAdapter[]> {
    const outcomes = await this.everywhere(scope, (attempt) => this.engine.models(attempt));
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
    attempt.enter("list of models", this.adminMs);
    return this.engine.models(attempt);
  }

  /** Loads a registered adapter at an endpoint that does not have it (any more); calls at the same time share one load. */
  async restore(attempt: Attempt, id: string): Promise<void> {
    const { url } = attempt.connection;
    if (this.directory === undefined) {
      const message = `The engine at ${url} does not serve adapter ${id}. Load it with loadAdapter({ id, path }).`;
      throw new AttemptError(new NotFoundError("adapter_not_found", message, { details: { id, endpoint: url } }), {
        failover: false,
        retry: false,
      });
    }
    const key = `${url} ${id}`;
    const running = this.reloads.get(key);
    if (running !== undefined) {
      // the one that loads may be aborted by its own caller; then this call loads by itself
      const isLoaded = await running.then(
        () => true,
        () => false,
      );
      if (isLoaded) return;
    }
    const load = this.loadFromDirectory(attempt, this.directory, id).finally(() => this.reloads.delete(key));
    this.reloads.set(key, load);
    await load;
  }

  private async loadFromDirectory(attempt: Attempt, directory: AdapterDirectory, id: string): Promise<void> {
    const { path } = await directory.getAdapter(id);
    attempt.enter("answer to loading an adapter", this.adminMs);
    await this.engine.loadAdapter(attempt, { id, path });
    attempt.park();
  }

  private everywhere<Result>(scope: CallScope, question: (attempt: Attempt) => Promise<Result>): Promise<Outcome<Result>[]> {
    return Promise.all(
      this.dispatcher.endpoints.map(async (endpoint): Promise<Outcome<Result>> => {
        try {
          const result = await this.dispatcher.at(endpoint, scope, (attempt) => this.ask(attempt, () => question(attempt)));
          return { endpoint, name: endpoint.name, result };
        } catch (error) {
          return { endpoint, name: endpoint.name, error: asClaraError(error) };
        }
      }),
    );
  }

  /** Takes away what was newly loaded; the error says what failed where, and what could not be taken back. */
  private async undo(id: string, outcomes: Outcome<"loaded" | "already_loaded">[], failed: Outcome<unknown>[]): Promise<ClaraError> {
    const loaded = outcomes.filter(({ result }) => result === "loaded");
    if (outcomes.length === 1) return failed[0]!.error!;
    // a call of its own: where the caller has aborted, the rest must be taken back all the same
    const scope = this.openScope();
    const attempts = await Promise.all(
      loaded.map(async ({ endpoint, name }) => {
        try {
          await this.dispatcher.at(endpoint, scope, (attempt) => this.ask(attempt, () => this.engine.unloadAdapter(attempt, id)));
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

  private async ask<Result>(attempt: Attempt, question: () => Promise<Result>): Promise<Result> {
    attempt.enter("answer", this.adminMs);
    const result = await question();
    attempt.finish();
    return result;
  }
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
