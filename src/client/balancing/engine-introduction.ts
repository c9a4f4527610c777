import { ConfigurationError, type NotFoundError } from "../../errors.js";
import type { Engine, EngineDescription, ServedModel } from "../engines/engine.js";
import type { Attempt } from "../http/attempt.js";
import { AttemptError } from "../http/attempt-error.js";
import { modelNotServed } from "../http/engine-errors.js";
import type { Endpoint } from "./endpoint.js";

/** What an engine must turn out to be. */
export interface EngineExpectation {
  /** Served name of the base model. */
  baseModel: string;
  /** SHA-256 of its weights, where it must be these; only the bundled runtime says so. */
  baseModelSha256?: string;
  /** False: the server's own list of models decides nothing, for example behind a proxy that serves more than it lists. */
  listsModels: boolean;
  headersMs: number;
  /** The base at every endpoint so far; replicas that differ are a mistake. */
  otherBases(endpoint: Endpoint): ServedModel[];
}

/** Asks each engine what it is before it gets traffic, and again when it may be another process; a mismatch is an error, not an answer. */
export class EngineIntroduction {
  readonly #engine: Engine;
  readonly #expected: EngineExpectation;

  constructor(engine: Engine, expected: EngineExpectation) {
    this.#engine = engine;
    this.#expected = expected;
  }

  get baseModel(): string {
    return this.#expected.baseModel;
  }

  /** Resolves when the endpoint is known to be the engine that it should be; at once, unless that is in doubt. */
  async meet(attempt: Attempt, endpoint: Endpoint): Promise<void> {
    if (!endpoint.shelf.isDoubted) return;
    await endpoint.shelf.once("introduction", async () => {
      attempt.enter("headers", this.#expected.headersMs);
      const description = await this.#describe(attempt);
      attempt.park();
      this.#check(endpoint, attempt.connection.url, description);
      endpoint.turns.slots = description.adapterSlots ?? Number.POSITIVE_INFINITY;
      endpoint.shelf.look(description);
    });
  }

  /** A server of another make need not say what it is; that it cannot be reached, or does not let us in, it says by every call. */
  async #describe(attempt: Attempt): Promise<EngineDescription> {
    try {
      return await this.#engine.describe(attempt);
    } catch (error) {
      const code = error instanceof AttemptError ? error.error.code : null;
      if (this.#expected.listsModels || (code !== "engine_error" && code !== "engine_response_invalid")) throw error;
      return { version: null, models: [], maxModelLength: null, maxLoraRank: null, adapterSlots: null, instance: null };
    }
  }

  #check(endpoint: Endpoint, url: string, { models }: EngineDescription): void {
    const { baseModel, baseModelSha256, listsModels, otherBases } = this.#expected;
    const base = models.find(({ id }) => id === baseModel);
    if (base === undefined) {
      if (!listsModels) return;
      const served = models.map(({ id }) => id);
      throw refusal(modelNotServed(url, baseModel, served));
    }
    if (baseModelSha256 !== undefined && base.sha256 !== null && base.sha256 !== baseModelSha256) {
      throw mismatch(url, `its base model ${baseModel} has the SHA-256 ${base.sha256}, and ${baseModelSha256} is expected`);
    }
    const other = otherBases(endpoint).find(
      (one) => differs(one.sha256, base.sha256) || (one.sha256 === null && differs(one.path, base.path)),
    );
    if (other === undefined) return;
    throw mismatch(url, `it serves ${base.path ?? base.sha256} as ${baseModel}, and another endpoint serves ${other.path ?? other.sha256}`);
  }
}

function differs(left: string | null, right: string | null): boolean {
  return left !== null && right !== null && left !== right;
}

function mismatch(url: string, why: string): AttemptError {
  const message = `The engine at ${url} is not the one it should be: ${why}. All endpoints of a client must serve the same base model.`;
  return refusal(new ConfigurationError("engine_mismatch", message, { details: { endpoint: url } }));
}

function refusal(error: ConfigurationError | NotFoundError): AttemptError {
  return new AttemptError(error, { failover: true, retry: false });
}
