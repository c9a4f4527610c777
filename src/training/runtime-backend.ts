import { AbortedError, ClaraError } from "../errors.js";
import { checkedResult, trainingError } from "../runtime/runtime-faults.js";
import { RuntimeHttpClient, type RuntimeHttpClientOptions } from "../runtime/runtime-http-client.js";
import type { CallOptions, EndpointProvider, Logger } from "../types/common.js";
import type { EvaluateResult, RuntimeCapabilities, RuntimeJob, RuntimeSpec, TrainResult } from "../types/runtime-protocol.js";
import { type BackendRunOptions, DETACH, type TrainingBackend, type TrainingFile } from "./training-backend.js";

const CANCEL_TIMEOUT_MS = 5000;
/** A job that vanished from the runtime (its folder was emptied) is begun anew this often. */
const RESTARTS = 2;

/**
 * Trains on a runtime over HTTP, local or on another machine. A job that already runs there is found again; one that
 * failed or was cancelled there goes on from its checkpoint.
 * @example
 * ```ts
 * const backend = new RuntimeBackend(new RemoteRuntime({ url: "http://gpu:45680", token }));
 * ```
 */
export class RuntimeBackend implements TrainingBackend, AsyncDisposable {
  readonly name: string;
  readonly #client: RuntimeHttpClient;
  readonly #logger: Logger | undefined;

  constructor(provider: EndpointProvider, options: RuntimeHttpClientOptions & { logger?: Logger } = {}) {
    this.name = provider.name;
    this.#client = new RuntimeHttpClient(provider, options);
    this.#logger = options.logger;
  }

  capabilities(options: CallOptions = {}): Promise<RuntimeCapabilities> {
    return this.#client.capabilities(options);
  }

  async run(spec: RuntimeSpec, files: readonly TrainingFile[], options: BackendRunOptions): Promise<TrainResult | EvaluateResult> {
    const { signal } = options;
    let resumeAfter = options.resumeAfter ?? 0;
    try {
      await this.#client.capabilities({ signal });
      for (let restart = 0; ; restart += 1) {
        const after = await this.#begin(spec, files, resumeAfter, signal);
        try {
          const result = await this.#follow(spec, after, options, (seq) => {
            resumeAfter = seq;
          });
          await this.#removeFiles(files);
          return result;
        } catch (error) {
          const isGone = ClaraError.isInstance(error) && error.code === "job_not_found";
          if (!isGone || restart >= RESTARTS) throw error;
        }
      }
    } catch (error) {
      if (signal.aborted) {
        if (signal.reason !== DETACH) await this.cancel(spec.job_id);
        throw new AbortedError(`Job ${spec.job_id} was stopped.`, { cause: signal.reason });
      }
      if (ClaraError.isInstance(error) && error.code !== "runtime_unavailable") await this.#removeFiles(files);
      throw error;
    }
  }

  async hasAdapter(name: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.#client.listFiles(`adapters/${name}/`, options)).length > 0;
  }

  /**
   * Closes its connections; jobs go on.
   * @example
   * ```ts
   * await new RuntimeBackend(runtime).close();
   * ```
   */
  async close(): Promise<void> {
    await this.#client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Makes sure that the job is there; the number of the last event that needs no telling. */
  async #begin(spec: RuntimeSpec, files: readonly TrainingFile[], resumeAfter: number, signal: AbortSignal): Promise<number> {
    const existing = await this.#find(spec.job_id, signal);
    if (existing !== null && (existing.status === "queued" || existing.status === "running" || existing.status === "completed")) {
      // numbers above its own belong to an earlier life of the runtime's folder
      return resumeAfter > existing.last_seq ? 0 : resumeAfter;
    }
    for (const file of files) await this.#client.putFile(file.path, file.content, { signal });
    if (existing === null) {
      await this.#client.createJob(spec, { signal });
      return 0;
    }
    try {
      await this.#client.createJob(spec, { signal, restart: true });
      return existing.last_seq;
    } catch (error) {
      // The same job with other settings (an upgrade in between): begin anew; its checkpoint decides whether it still fits.
      if (!ClaraError.isInstance(error) || error.details.status !== 409) throw error;
      await this.#client.deleteJob(spec.job_id, { signal });
      await this.#client.createJob(spec, { signal });
      return 0;
    }
  }

  async #follow(
    spec: RuntimeSpec,
    after: number,
    options: BackendRunOptions,
    onSeq: (seq: number) => void,
  ): Promise<TrainResult | EvaluateResult> {
    for await (const event of this.#client.events(spec.job_id, { after, signal: options.signal })) {
      onSeq(event.seq);
      options.onEvent(event);
      if (event.type === "error") throw trainingError(spec, event);
      if (event.type === "result") return checkedResult(spec, event.result);
    }
    throw trainingError(spec, { code: "internal", message: "the runtime ended its events without a result", retryable: true });
  }

  async #find(jobId: string, signal: AbortSignal): Promise<RuntimeJob | null> {
    try {
      return await this.#client.getJob(jobId, { signal });
    } catch (error) {
      if (ClaraError.isInstance(error) && error.code === "job_not_found") return null;
      throw error;
    }
  }

  /** Resolves when the trainer is gone, or cannot be told (which is logged). */
  async cancel(jobId: string): Promise<void> {
    const signal = AbortSignal.timeout(CANCEL_TIMEOUT_MS);
    try {
      const job = await this.#client.cancelJob(jobId, { signal });
      if (job.status !== "queued" && job.status !== "running") return;
      for await (const _ of this.#client.events(jobId, { signal, after: job.last_seq })) {
        // only its end matters
      }
    } catch (error) {
      if (ClaraError.isInstance(error) && error.code === "job_not_found") return;
      this.#logger?.warn({ jobId, error: String(error) }, "a job could not be cancelled at the runtime");
    }
  }

  /** Training data does not outlive its job; a retry sends it again. */
  async #removeFiles(files: readonly TrainingFile[]): Promise<void> {
    for (const file of files) {
      try {
        await this.#client.deleteFile(file.path);
      } catch (error) {
        this.#logger?.debug({ path: file.path, error: String(error) }, "a training file could not be removed from the runtime");
        return;
      }
    }
  }
}
