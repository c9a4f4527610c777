import { createWriteStream, existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AbortedError, RuntimeUnavailableError, StorageError } from "../errors.js";
import { childEnvironment, moduleArguments } from "../runtime/child-environment.js";
import type { RuntimeEnvironment } from "../runtime/install-runtime.js";
import { installedEnvironment, localPath } from "../runtime/local-runtime.js";
import { type ProgramExit, runProgram } from "../runtime/run-program.js";
import { checkedResult, EXIT_CODES, trainingError } from "../runtime/runtime-faults.js";
import type { CallOptions, Logger } from "../types/common.js";
import {
  type EvaluateResult,
  RuntimeCapabilities,
  type RuntimeErrorCode,
  RuntimeEvent,
  type RuntimeSpec,
  type TrainResult,
} from "../types/runtime-protocol.js";
import type { BackendRunOptions, TrainingBackend, TrainingFile } from "./training-backend.js";

export interface LocalProcessBackendOptions {
  /** Folder of adapters, jobs and checkpoints. Made where it is missing. */
  root: string;
  /** Folders outside `root` that base models may be read from; a spec's own base model folder of this machine is always allowed. */
  models?: readonly string[];
  /** Environment to run in. Default: the one that `installRuntime` made. */
  environment?: RuntimeEnvironment;
  /** More environment variables, for example `{ OMP_NUM_THREADS: "2" }`. */
  env?: Record<string, string>;
  logger?: Logger;
}

const CAPABILITIES = `
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from clara_runtime.capabilities import Capabilities
async def main():
    capabilities = Capabilities()
    capabilities.open()
    print(json.dumps(await capabilities.describe(None)))
asyncio.run(main())`;

/**
 * Trains in a child process of this one, without a server. The process is a group of its own, told to stop on abort and
 * killed after two seconds; it stops by itself when this process is gone.
 * @example
 * ```ts
 * const backend = new LocalProcessBackend({ root: ".clara/runtime" });
 * ```
 */
export class LocalProcessBackend implements TrainingBackend {
  readonly name = "local process";
  readonly #options: LocalProcessBackendOptions;
  readonly #root: string;
  #capabilities: Promise<RuntimeCapabilities> | null = null;

  constructor(options: LocalProcessBackendOptions) {
    this.#options = options;
    this.#root = resolve(options.root);
  }

  capabilities(_options: CallOptions = {}): Promise<RuntimeCapabilities> {
    this.#capabilities ??= this.#probe().catch((error: unknown) => {
      this.#capabilities = null;
      throw error;
    });
    return this.#capabilities;
  }

  async hasAdapter(name: string): Promise<boolean> {
    return existsSync(join(this.#root, "adapters", name));
  }

  async run(spec: RuntimeSpec, files: readonly TrainingFile[], options: BackendRunOptions): Promise<TrainResult | EvaluateResult> {
    const environment = await this.#environment();
    const folder = join(this.#root, "jobs", spec.job_id);
    const local = { ...spec, base_model: localPath(spec.base_model) };
    const specPath = join(folder, "spec.json");
    try {
      await mkdir(folder, { recursive: true });
      for (const file of files) await writeWhole(join(this.#root, file.path), file.content);
      await writeWhole(specPath, [JSON.stringify(local)]);
    } catch (error) {
      throw writeError(error, this.#root);
    }
    if (options.signal.aborted) throw stopped(spec, options.signal);

    let last: Extract<RuntimeEvent, { type: "result" | "error" }> | null = null;
    const exit = await runProgram({
      file: environment.python,
      args: this.#arguments(environment, spec.kind, specPath, local.base_model),
      cwd: this.#root,
      env: childEnvironment({ PYTHONUNBUFFERED: "1", TOKENIZERS_PARALLELISM: "false", ...this.#options.env }),
      signal: options.signal,
      onLine: (line) => {
        const event = parseEvent(line);
        if (event === null) {
          this.#options.logger?.debug({ jobId: spec.job_id, line }, "the trainer printed something that is no event");
          return;
        }
        if (event.type === "result" || event.type === "error") last = event;
        options.onEvent(event);
      },
    });
    if (options.signal.aborted) throw stopped(spec, options.signal);
    await this.#removeFiles(files);
    return this.#outcome(spec, exit, last);
  }

  #outcome(
    spec: RuntimeSpec,
    exit: ProgramExit,
    last: Extract<RuntimeEvent, { type: "result" | "error" }> | null,
  ): TrainResult | EvaluateResult {
    if (last?.type === "result" && exit.code === 0) return checkedResult(spec, last.result);
    const details = { exitCode: exit.code, signal: exit.signal, output: exit.stderr };
    if (last?.type === "error") throw trainingError(spec, last, details);
    if (exit.spawnError !== null) {
      throw new RuntimeUnavailableError("runtime_unavailable", `The trainer could not be started: ${exit.spawnError.message}`, {
        cause: exit.spawnError,
        details,
      });
    }
    if (exit.signal !== null) {
      const why = exit.signal === "SIGKILL" ? " (often the system's answer to a lack of memory)" : "";
      const message = `its process was killed by ${exit.signal}${why}; it goes on from its last checkpoint when tried again`;
      throw trainingError(spec, { code: "internal", message, retryable: true }, details);
    }
    const code: RuntimeErrorCode = EXIT_CODES[exit.code ?? 1] ?? "internal";
    const message = `its process ended with exit code ${exit.code} and without a result. Its last words:\n${exit.stderr || "(none)"}`;
    throw trainingError(
      spec,
      { code, message, retryable: code === "internal" || code === "out_of_memory" || code === "disk_full" },
      details,
    );
  }

  #arguments(environment: RuntimeEnvironment, kind: RuntimeSpec["kind"], specPath: string, baseModel: string): string[] {
    const folders = [...(this.#options.models ?? []).map((folder) => resolve(folder)), ...(baseModel.startsWith("/") ? [baseModel] : [])];
    const args = ["--spec", specPath, "--root", this.#root, ...folders.flatMap((folder) => ["--models", folder])];
    // the same program as clara_runtime.train or .evaluate, in a process that the kernel ends with this one
    return moduleArguments(environment.sourceFolder, "clara_runtime.job_process", [String(process.pid), kind, ...args]);
  }

  #environment(): Promise<RuntimeEnvironment> {
    return this.#options.environment === undefined ? installedEnvironment() : Promise.resolve(this.#options.environment);
  }

  async #probe(): Promise<RuntimeCapabilities> {
    const environment = await this.#environment();
    const lines: string[] = [];
    const exit = await runProgram({
      file: environment.python,
      args: ["-I", "-X", "utf8", "-c", CAPABILITIES, environment.sourceFolder],
      cwd: environment.sourceFolder,
      env: childEnvironment({ PYTHONUNBUFFERED: "1", ...this.#options.env }),
      signal: new AbortController().signal,
      onLine: (line) => lines.push(line),
    });
    const parsed = RuntimeCapabilities.safeParse(parseJson(lines.at(-1) ?? ""));
    if (parsed.success) return parsed.data;
    throw new RuntimeUnavailableError(
      "runtime_unavailable",
      `The runtime could not say what it can do (exit code ${exit.code}): ${exit.stderr}`,
      { isRetryable: false },
    );
  }

  async #removeFiles(files: readonly TrainingFile[]): Promise<void> {
    for (const file of files) await rm(join(this.#root, file.path), { force: true });
  }
}

function stopped(spec: RuntimeSpec, signal: AbortSignal): AbortedError {
  return new AbortedError(`Job ${spec.job_id} was stopped.`, { cause: signal.reason });
}

/** The file appears whole or not at all. */
async function writeWhole(path: string, content: Iterable<string> | AsyncIterable<string>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await pipeline(Readable.from(content), createWriteStream(temporary, { mode: 0o600 }));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function writeError(error: unknown, root: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new StorageError("disk_full", `The disk of ${root} is full. Free some space; the job goes on from its last checkpoint.`, {
    isRetryable: true,
    cause: error,
    details: { folder: root },
  });
}

function parseEvent(line: string): RuntimeEvent | null {
  const parsed = RuntimeEvent.safeParse(parseJson(line));
  return parsed.success ? parsed.data : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
