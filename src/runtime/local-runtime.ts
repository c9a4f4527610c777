import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { resolve as resolvePath } from "node:path";
import { ConfigurationError, RuntimeUnavailableError } from "../errors.js";
import type { Endpoint } from "../types/common.js";
import { childEnvironment, moduleArguments } from "./child-environment.js";
import { findRuntime, type RuntimeEnvironment } from "./install-runtime.js";
import { LocalService, type LocalServiceOptions, type ServiceLaunch, type StartingService } from "./local-service.js";

export interface LocalRuntimeOptions extends Partial<LocalServiceOptions> {
  /** The runtime's own folder: adapters, jobs, checkpoints. Made where it is missing. */
  root: string;
  /** Folder or hub id of the model that it serves; absent = it only trains and evaluates. */
  model?: string;
  /** Folders outside `root` that base models may be read from. `model`'s own is always allowed. */
  models?: readonly string[];
  /** Jobs at once. Default 2. */
  maxJobs?: number;
  /** Environment to run it in. Default: the one that `installRuntime` made. */
  environment?: RuntimeEnvironment;
  /** More arguments of `python -m clara_runtime.api`, for example `["--max-adapters", "8"]`. */
  args?: readonly string[];
  /** More environment variables, for example `{ OMP_NUM_THREADS: "2" }`. */
  env?: Record<string, string>;
}

/**
 * The bundled runtime as a child process of this one: started by the first `resolve`, started again after a crash, ended with this
 * process however that ends.
 * @example
 * ```ts
 * await using runtime = new LocalRuntime({ root: ".clara/runtime", model: "models/tiny-base" });
 * const { url, token } = await runtime.resolve();
 * ```
 */
export class LocalRuntime extends LocalService {
  readonly #options: LocalRuntimeOptions;
  readonly #token = randomBytes(24).toString("base64url");

  /** `startTimeoutMs` defaults to 240 000: imports alone may take half a minute. */
  constructor(options: LocalRuntimeOptions) {
    super("local runtime", { ...options, startTimeoutMs: options.startTimeoutMs ?? 240_000 });
    this.#options = options;
  }

  protected override async launch(): Promise<ServiceLaunch> {
    const { root, model, models = [], maxJobs = 2, args = [], env = {} } = this.#options;
    const environment = this.#options.environment ?? (await installedEnvironment());
    const folder = resolvePath(root);
    await mkdir(folder, { recursive: true });
    const serve = model === undefined ? [] : ["--serve-model", localPath(model)];
    const allowed = [...models, ...(model === undefined ? [] : [model])]
      .filter((entry) => existsSync(entry))
      .flatMap((entry) => ["--models", resolvePath(entry)]);
    const passed = process.env.HF_TOKEN ? ["--pass-env", "HF_TOKEN"] : [];
    const own = ["--root", folder, "--port", "0", "--max-jobs", String(maxJobs), "--exit-on-stdin-close"];
    return {
      file: environment.python,
      args: moduleArguments(environment.sourceFolder, "clara_runtime.api", [...own, ...serve, ...allowed, ...passed, ...args]),
      cwd: folder,
      env: childEnvironment({ ...sharedCores(), PYTHONUNBUFFERED: "1", ...env, CLARA_RUNTIME_TOKEN: this.#token }),
      ready: (service) => announcedEndpoint(service, this.#token, this.name),
    };
  }
}

/**
 * Without a GPU the model that answers and the trainers share the cores: threads that spin while they wait would starve one
 * another, so answers get half of the cores and nobody spins. The caller's own settings win.
 */
function sharedCores(): Record<string, string> {
  const { OMP_NUM_THREADS, OMP_WAIT_POLICY } = process.env;
  return {
    OMP_NUM_THREADS: OMP_NUM_THREADS ?? String(Math.max(1, Math.floor(availableParallelism() / 2))),
    OMP_WAIT_POLICY: OMP_WAIT_POLICY ?? "PASSIVE",
  };
}

/** The installed environment, or the error that says how to install it. */
export async function installedEnvironment(engine: "local" | "vllm" = "local"): Promise<RuntimeEnvironment> {
  const environment = await findRuntime({ engine });
  if (environment !== null) return environment;
  const command = engine === "vllm" ? "npx clara runtime install --engine vllm" : "npx clara runtime install";
  throw new RuntimeUnavailableError(
    "runtime_not_installed",
    `The ${engine === "vllm" ? "vLLM engine" : "runtime"} is not installed for this version. Run: ${command} (or call installRuntime()).`,
    {
      isRetryable: false,
      details: { engine },
    },
  );
}

/** A folder of this machine as an absolute path, because the child runs elsewhere; a hub id as it is. */
export function localPath(model: string): string {
  return existsSync(model) ? resolvePath(model) : model;
}

interface Announcement {
  type: "listening" | "ready" | "failed";
  url?: string;
  code?: string;
  message?: string;
}

function announcedEndpoint(service: StartingService, token: string, name: string): Promise<Endpoint> {
  let url: string | undefined;
  return new Promise((resolve, reject) => {
    service.onLine((line) => {
      let said: Announcement;
      try {
        said = JSON.parse(line) as Announcement;
      } catch {
        return; // a library's print; announcements are JSON
      }
      if (said.type === "listening") url = said.url;
      if (said.type === "ready" && url !== undefined) resolve({ url, token });
      if (said.type === "failed") reject(startError(said, name));
    });
  });
}

function startError(said: Announcement, name: string): Error {
  const details = { runtimeCode: said.code ?? "internal" };
  if (said.code === "base_model_invalid") {
    return new ConfigurationError("base_model_invalid", `The ${name} cannot serve this model: ${said.message}`, { details });
  }
  const isRetryable = said.code === "internal" || said.code === "out_of_memory" || said.code === "disk_full";
  return new RuntimeUnavailableError("runtime_unavailable", `The ${name} could not start: ${said.message}`, { isRetryable, details });
}
