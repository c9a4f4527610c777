import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { request } from "undici";
import type { Endpoint } from "../types/common.js";
import { childEnvironment, moduleArguments } from "./child-environment.js";
import { hasNvidiaGpu } from "./find-gpu.js";
import type { RuntimeEnvironment } from "./install-runtime.js";
import { installedEnvironment, localPath } from "./local-runtime.js";
import { LocalService, type LocalServiceOptions, type ServiceLaunch, type StartingService } from "./local-service.js";

export interface LocalVllmOptions extends Partial<LocalServiceOptions> {
  /** Folder or hub id of the base model. */
  model: string;
  /** Its name in requests. Default `base`. */
  servedModelName?: string;
  /** Tokens of prompt and answer together. Default: the model's own; 512 without a GPU. */
  maxModelLength?: number;
  /** Largest rank of an adapter. Default 16. */
  maxLoraRank?: number;
  /** Adapters in one batch. Default 4. */
  maxLoras?: number;
  /** Adapters in memory. Default 16. */
  maxCpuLoras?: number;
  /** GiB for the key–value cache without a GPU. Default 1. */
  cpuCacheGigabytes?: number;
  environment?: RuntimeEnvironment;
  /** More arguments of vLLM's server. */
  args?: readonly string[];
  env?: Record<string, string>;
}

/**
 * vLLM with hot-loadable adapters as a child process of this one, on this machine's GPU or its CPU.
 * @example
 * ```ts
 * await using vllm = new LocalVllm({ model: "Qwen/Qwen3-8B" });
 * const { url } = await vllm.resolve();
 * ```
 */
export class LocalVllm extends LocalService {
  readonly #options: LocalVllmOptions;
  readonly #token = randomBytes(24).toString("base64url");

  /** `startTimeoutMs` defaults to 300 000: imports alone take 90–160 s on two cores. */
  constructor(options: LocalVllmOptions) {
    super("local vLLM", { ...options, startTimeoutMs: options.startTimeoutMs ?? 300_000 });
    this.#options = options;
  }

  protected override async launch(): Promise<ServiceLaunch> {
    const {
      model,
      servedModelName = "base",
      maxLoraRank = 16,
      maxLoras = 4,
      maxCpuLoras = 16,
      cpuCacheGigabytes = 1,
      args = [],
      env = {},
    } = this.#options;
    const environment = this.#options.environment ?? (await installedEnvironment("vllm"));
    const hasGpu = await hasNvidiaGpu();
    const maxModelLength = this.#options.maxModelLength ?? (hasGpu ? undefined : 512);
    const port = await freePort();
    const options = ["--model", localPath(model), "--served-model-name", servedModelName, "--host", "127.0.0.1", "--port", String(port)];
    options.push(
      "--enable-lora",
      "--max-lora-rank",
      String(maxLoraRank),
      "--max-loras",
      String(maxLoras),
      "--max-cpu-loras",
      String(maxCpuLoras),
    );
    if (maxModelLength !== undefined) options.push("--max-model-len", String(maxModelLength));
    if (!hasGpu) options.push("--max-num-seqs", "8", "--dtype", "float32", "--enforce-eager");
    const vllm = {
      VLLM_ALLOW_RUNTIME_LORA_UPDATING: "True",
      VLLM_NO_USAGE_STATS: "1",
      VLLM_API_KEY: this.#token,
      ...(hasGpu ? {} : { VLLM_CPU_KVCACHE_SPACE: String(cpuCacheGigabytes) }),
      ...(localPath(model) === model && !model.startsWith("/") ? {} : { HF_HUB_OFFLINE: "1" }),
    };
    return {
      file: environment.python,
      args: moduleArguments(environment.sourceFolder, "clara_runtime.vllm_server", [...options, ...args]),
      cwd: environment.folder,
      env: childEnvironment({ PYTHONUNBUFFERED: "1", ...vllm, ...env }),
      ready: (service) => healthyEndpoint(service, { url: `http://127.0.0.1:${port}`, token: this.#token }),
    };
  }
}

async function healthyEndpoint(service: StartingService, endpoint: Endpoint): Promise<Endpoint> {
  // read, so that its pipe does not fill
  service.onLine(() => {});
  while (!service.ended.aborted) {
    const isUp = await request(`${endpoint.url}/health`, { headersTimeout: 2000, signal: service.ended }).then(
      async ({ statusCode, body }) => {
        await body.dump();
        return statusCode === 200;
      },
      () => false,
    );
    if (isUp) return endpoint;
    await delay(250, undefined, { signal: service.ended }).catch(() => {});
  }
  throw service.ended.reason;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
