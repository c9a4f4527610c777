import { access, constants, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Clara, createClara } from "../../clara.js";
import { ConfigurationError } from "../../errors.js";
import { LocalVllm, tinyBaseModel } from "../../runtime/index.js";
import type { CallOptions } from "../../types/common.js";
import type { GeneralPairs } from "./settings.js";
import { demoOptions } from "./settings.js";

export interface SessionOptions {
  /** Keep the state in this empty folder; absent: a temporary one, removed at the end. */
  keep?: string;
  trainer: "lora" | "qlora";
  engine: "local" | "vllm";
}

/** CLARA as the demo runs it: opened on one folder, stopped, and opened again on the same. */
export class DemoSession {
  readonly #options: SessionOptions;
  readonly #dataDir: string;
  readonly #feedback: { rows: number; general: GeneralPairs };
  #clara: Clara | null = null;
  #vllm: LocalVllm | null = null;

  private constructor(options: SessionOptions, dataDir: string, feedback: { rows: number; general: GeneralPairs }) {
    this.#options = options;
    this.#dataDir = dataDir;
    this.#feedback = feedback;
  }

  /** `rows`: feedback lines of the largest domain, by which the trainer's epochs are chosen. */
  static async create(options: SessionOptions, feedback: { rows: number; general: GeneralPairs }): Promise<DemoSession> {
    return new DemoSession(options, await demoFolder(options.keep), feedback);
  }

  async open({ signal }: CallOptions = {}): Promise<Clara> {
    const { trainer, engine } = this.#options;
    this.#vllm = engine === "vllm" ? new LocalVllm({ model: tinyBaseModel() }) : null;
    const serving = this.#vllm ? { engine: "vllm" as const, endpoints: [this.#vllm] } : undefined;
    this.#clara = await createClara(demoOptions({ dataDir: this.#dataDir, trainer, serving, ...this.#feedback }), { signal });
    return this.#clara;
  }

  async stop(): Promise<void> {
    await this.#clara?.close();
    // an engine that was passed in is not CLARA's to end
    await this.#vllm?.close();
    this.#clara = null;
    this.#vllm = null;
  }

  /** Stops, and removes the state unless it is to be kept. */
  async end(): Promise<void> {
    await this.stop();
    if (this.#options.keep === undefined) await rm(this.#dataDir, { recursive: true, force: true });
  }
}

async function demoFolder(keep: string | undefined): Promise<string> {
  if (keep === undefined) return mkdtemp(join(tmpdir(), "clara-demo-"));
  const folder = resolve(keep);
  if ((await usableEntries(folder, keep)).length > 0) {
    throw new ConfigurationError(
      "config_invalid",
      `--keep ${keep} holds files already: name a new or empty folder, so that the demo starts from nothing.`,
    );
  }
  return folder;
}

/** What is in the folder, which is made where it is not there and can be written to. */
async function usableEntries(folder: string, keep: string): Promise<string[]> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return await readdir(folder);
  } catch (error) {
    throw new ConfigurationError("config_invalid", `--keep ${keep} cannot be used: ${(error as Error).message}`, { cause: error });
  }
}
