import { AbortedError, ConfigurationError } from "../errors.js";
import type { CallOptions, Endpoint, EndpointProvider } from "../types/common.js";

export interface RemoteRuntimeOptions {
  /** For example `http://gpu:45680`, without `/v1`. */
  url: string;
  /** The token that the runtime was started with. Environment fallback: `CLARA_RUNTIME_TOKEN`. */
  token?: string;
}

/**
 * A runtime that somebody else started.
 * @throws ConfigurationError `config_invalid` where the URL is none
 * @example
 * ```ts
 * const backend = new RuntimeBackend(new RemoteRuntime({ url: "http://gpu:45680", token }));
 * ```
 */
export class RemoteRuntime implements EndpointProvider {
  readonly name = "runtime";
  readonly #endpoint: Endpoint;

  constructor(options: RemoteRuntimeOptions) {
    const url = URL.canParse(options.url) ? new URL(options.url) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) {
      throw new ConfigurationError("config_invalid", `runtime.url is ${JSON.stringify(options.url)}: write it like http://gpu:45680.`);
    }
    const token = options.token ?? process.env.CLARA_RUNTIME_TOKEN;
    this.#endpoint = { url: options.url.replace(/\/+$/, ""), ...(token ? { token } : {}) };
  }

  /**
   * Where it is; nothing is asked of it yet.
   * @example
   * ```ts
   * const { url } = await runtime.resolve();
   * ```
   */
  async resolve(options: CallOptions = {}): Promise<Endpoint> {
    if (options.signal?.aborted) throw new AbortedError("The call was aborted.", { cause: options.signal.reason });
    return this.#endpoint;
  }
}
