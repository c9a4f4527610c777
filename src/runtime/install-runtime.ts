import { existsSync } from "node:fs";
import { mkdir, rm, statfs, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import lockfile from "proper-lockfile";
import { AbortedError, ClaraError, ConfigurationError, RuntimeUnavailableError, StorageError } from "../errors.js";
import { cacheFolder } from "../support/cache-folder.js";
import type { CallOptions } from "../types/common.js";
import { childEnvironment } from "./child-environment.js";
import { hasNvidiaGpu } from "./find-gpu.js";
import { findPython } from "./find-python.js";
import { InstallProgress, type InstallStep } from "./install-progress.js";
import { runtimeSourceFolder } from "./package-folder.js";
import {
  type EnvironmentVariant,
  environmentFolder,
  interpreterOf,
  isComplete,
  MARKER,
  type RuntimeEngine,
  requirementFiles,
  UV_VERSION,
} from "./python-cache.js";
import { runProgram } from "./run-program.js";

/** A Python environment that holds what the runtime needs. */
export interface RuntimeEnvironment {
  /** Its interpreter. */
  python: string;
  folder: string;
  /** `gpu-runtime` of this package. */
  sourceFolder: string;
}

export interface InstallOptions extends CallOptions {
  /** `vllm` adds the vLLM engine. Default `local`. */
  engine?: RuntimeEngine;
  /** Also what the Python tests need. Default false. */
  dev?: boolean;
  /** Interpreter to make the environment with. Default: `CLARA_PYTHON`, then the newest of `python3.13` … `python3`. */
  python?: string;
  /** Default: `CLARA_CACHE_DIR`, or `clara-sdk` in the user's cache folder. */
  cacheFolder?: string;
  onProgress?: (step: InstallStep) => void;
}

const NEEDED_BYTES: Record<RuntimeEngine, number> = { local: 6.5e9, vllm: 9e9 };
/** Without PyTorch's CUDA libraries. */
const NEEDED_BYTES_CPU_INDEX = 2.5e9;
const LOCK_STALE_MS = 10_000;
/** Lines of a failed command that its error shows. */
const KEPT_LINES = 15;

/**
 * The environment that `installRuntime` made for this package, or null. `CLARA_PYTHON_ENV` names one to use as it is.
 * @throws ConfigurationError `python_missing`, `python_too_old`, `config_invalid` (`CLARA_PYTHON_ENV` is none)
 * @example
 * ```ts
 * const environment = (await findRuntime()) ?? (await installRuntime());
 * ```
 */
export async function findRuntime(options: Omit<InstallOptions, "onProgress"> = {}): Promise<RuntimeEnvironment | null> {
  const sourceFolder = runtimeSourceFolder();
  const given = process.env.CLARA_PYTHON_ENV;
  if (given) {
    if (!existsSync(interpreterOf(given))) {
      throw new ConfigurationError("config_invalid", `CLARA_PYTHON_ENV is ${given}, but ${interpreterOf(given)} does not exist.`, {
        details: { folder: given },
      });
    }
    return { python: interpreterOf(given), folder: given, sourceFolder };
  }
  const python = await findPython(options);
  const folder = await environmentFolder(sourceFolder, python, await variantOf(options), options.cacheFolder);
  return isComplete(folder) ? { python: interpreterOf(folder), folder, sourceFolder } : null;
}

/**
 * Makes the Python environment of the runtime, once per user and version; every later call returns at once. Safe to run
 * in several processes at the same time, and to kill: an unfinished environment is made anew.
 * @throws ConfigurationError `python_missing`, `python_too_old`; StorageError `disk_full`; RuntimeUnavailableError `runtime_install_failed`
 * @example
 * ```ts
 * await installRuntime({ onProgress: ({ message, percent }) => console.log(`${percent} % ${message}`) });
 * ```
 */
export async function installRuntime(options: InstallOptions = {}): Promise<RuntimeEnvironment> {
  const found = await findRuntime(options);
  if (found !== null) return found;
  const progress = new InstallProgress(options.onProgress);
  progress.step("python", "looking for Python", 0);
  const sourceFolder = runtimeSourceFolder();
  const python = await findPython(options);
  const variant = await variantOf(options);
  const { engine, hasGpu } = variant;
  const cache = options.cacheFolder ?? cacheFolder();
  const folder = await environmentFolder(sourceFolder, python, variant, cache);
  const environment = { python: interpreterOf(folder), folder, sourceFolder };
  await makeFolder(dirname(folder));
  const release = await lock(folder, progress, options.signal);
  try {
    if (isComplete(folder)) return environment;
    await checkSpace(cache, hasGpu ? NEEDED_BYTES[engine] : NEEDED_BYTES_CPU_INDEX);
    await rm(folder, { recursive: true, force: true });
    const run = runner(folder, options.signal);
    progress.step("environment", `making an environment with Python ${python.version}`, 2);
    await run(python.executable, ["-I", "-m", "venv", folder], "making the Python environment");
    progress.step("installer", `installing uv ${UV_VERSION}`, 6);
    await run(
      environment.python,
      ["-I", "-m", "pip", "install", "--disable-pip-version-check", "--quiet", `uv==${UV_VERSION}`],
      "installing uv with pip",
    );
    await installRequirements({ environment, variant, cache, run, progress });
    progress.step("check", "checking the environment", 97);
    await run(
      environment.python,
      ["-I", "-c", "import torch, transformers, peft, trl, starlette, uvicorn"],
      "importing what was installed",
    );
    await writeFile(
      join(folder, MARKER),
      JSON.stringify({ python: python.version, engine, hasGpu, installedAt: new Date().toISOString() }),
    );
    progress.step("done", "the runtime is installed", 100);
    return environment;
  } catch (error) {
    throw installError(error, folder, options.signal);
  } finally {
    await release();
  }
}

async function variantOf(options: InstallOptions): Promise<EnvironmentVariant> {
  return { engine: options.engine ?? "local", hasGpu: await hasNvidiaGpu(options), isForTests: options.dev ?? false };
}

type Run = (file: string, args: string[], what: string, onLine?: (line: string) => void) => Promise<void>;

async function installRequirements(parts: {
  environment: RuntimeEnvironment;
  variant: EnvironmentVariant;
  cache: string;
  run: Run;
  progress: InstallProgress;
}): Promise<void> {
  const { environment, variant, run, progress } = parts;
  const { requirements, overrides } = requirementFiles(environment.sourceFolder, variant);
  const install = async (extra: string[]) => {
    const args = ["-I", "-m", "uv", "pip", "install", "--python", environment.python, "--no-config"];
    if (overrides !== null) args.push("--override", overrides);
    for (const file of requirements) args.push("-r", file);
    progress.begin();
    await run(environment.python, [...args, ...extra], "installing the requirements with uv", (line) => progress.line(line));
  };
  progress.step("packages", "installing PyTorch and the trainer", 10);
  if (variant.hasGpu) return install([]);
  try {
    // far smaller, but on an index of its own that not everybody reaches
    await install(["--torch-backend=cpu"]);
  } catch (error) {
    if (!(error instanceof CommandError) || error.isDiskFull) throw error;
    await checkSpace(parts.cache, NEEDED_BYTES[variant.engine]);
    progress.step("packages", "PyTorch's CPU index did not answer; taking PyTorch from PyPI", 10);
    await install([]);
  }
}

class CommandError extends Error {
  readonly isDiskFull: boolean;

  constructor(what: string, tail: string) {
    super(`${what} failed: ${tail}`);
    this.isDiskFull = /no space left on device|ENOSPC|disk quota exceeded/i.test(tail);
  }
}

function runner(folder: string, signal: AbortSignal | undefined): Run {
  return async (file, args, what, onLine) => {
    const lines: string[] = [];
    const take = (line: string) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      onLine?.(line);
    };
    const env = childEnvironment({ VIRTUAL_ENV: folder, PYTHONNOUSERSITE: "1", UV_NO_PROGRESS: "1" });
    const exit = await runProgram({ file, args, env, signal, onLine: take, onErrorLine: take });
    if (signal?.aborted) throw new AbortedError("The installation was aborted; the next one begins anew.", { cause: signal.reason });
    if (exit.code !== 0)
      throw new CommandError(what, lines.join("\n") || exit.spawnError?.message || `exit code ${exit.code ?? exit.signal}`);
  };
}

async function lock(folder: string, progress: InstallProgress, signal: AbortSignal | undefined): Promise<() => Promise<void>> {
  for (;;) {
    if (signal?.aborted) throw new AbortedError("The installation was aborted.", { cause: signal.reason });
    try {
      return await lockfile.lock(folder, {
        realpath: false,
        stale: LOCK_STALE_MS,
        update: LOCK_STALE_MS / 4,
        lockfilePath: `${folder}.lock`,
      });
    } catch (error) {
      if ((error as { code?: string }).code !== "ELOCKED") throw error;
      progress.step("waiting", "another process is installing the runtime; waiting for it", 1);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOSPC" || code === "EDQUOT") throw diskFull(folder, null);
    throw new ConfigurationError(
      "config_invalid",
      `The cache folder ${folder} cannot be made (${code}). Choose another by CLARA_CACHE_DIR.`,
      {
        cause: error,
        details: { folder },
      },
    );
  }
}

async function checkSpace(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < needed) throw diskFull(folder, { free, needed });
}

function diskFull(folder: string, space: { free: number; needed: number } | null): StorageError {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  const why = space === null ? "is full" : `has ${gigabytes(space.free)} free, the runtime needs ${gigabytes(space.needed)}`;
  return new StorageError("disk_full", `The disk of ${folder} ${why}. Free some, or choose another folder by CLARA_CACHE_DIR.`, {
    isRetryable: true,
    details: { folder, ...space },
  });
}

function installError(error: unknown, folder: string, signal: AbortSignal | undefined): unknown {
  if (ClaraError.isInstance(error)) return error;
  if (signal?.aborted) return new AbortedError("The installation was aborted; the next one begins anew.", { cause: signal.reason });
  const isFull = error instanceof CommandError ? error.isDiskFull : (error as NodeJS.ErrnoException).code === "ENOSPC";
  if (isFull) return diskFull(folder, null);
  const message = error instanceof Error ? error.message : String(error);
  return new RuntimeUnavailableError("runtime_install_failed", `The runtime could not be installed into ${folder}: ${message}`, {
    cause: error,
    details: { folder },
  });
}
