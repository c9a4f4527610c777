import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { PROTOCOL_VERSION, type RuntimeCapabilities, type RuntimeJob, RuntimeSpec } from "../types/runtime-protocol.js";
import {
  afterDelivery,
  type Exchange,
  errorReply,
  type RecordedRequest,
  type Reply,
  startStandInServer,
  write,
} from "./stand-in-server.js";
import { TrainerJob } from "./trainer-job.js";
import type { TrainerScript } from "./trainer-script.js";

/**
 * What a stand-in trainer does wrong, on demand:
 * - `crash`: the running jobs fail as if the trainer was killed (`internal`, retryable).
 * - `never-ends`: new jobs start and say nothing more until they are cancelled.
 * - `error`: new jobs fail with `code`.
 * - `drop-events`: an event stream is reset after `afterEvents` events of it (default 1).
 * - `unreachable`: every connection is reset.
 * - `status`: every request is answered with `status`.
 */
export type TrainerFault =
  | { kind: "crash" | "never-ends" | "unreachable" }
  | { kind: "error"; code: NonNullable<RuntimeJob["error"]>["code"]; message?: string; retryable?: boolean }
  | { kind: "drop-events"; afterEvents?: number; times?: number }
  | { kind: "status"; status: number };

/** Options of {@link startStandInTrainer}. */
export interface StandInTrainerOptions {
  /** Plays each job; see `jobScript` for an uneventful one. */
  script: TrainerScript;
  /** Changes to the answer of `GET /v1/capabilities`. Default: a CPU with the three trainers. */
  capabilities?: Partial<RuntimeCapabilities>;
  /** Bearer token it asks for. Default: none. */
  token?: string;
  /** Default: a free one. */
  port?: number;
}

/** A running stand-in trainer. */
export interface StandInTrainer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without `/v1`. */
  readonly url: string;
  readonly port: number;
  /** Every request so far, in order. */
  readonly requests: RecordedRequest[];
  /** Specs that were started so far, in order; one that was started again is there twice. */
  readonly specs: readonly RuntimeSpec[];
  /** Uploaded files by path. */
  readonly files: ReadonlyMap<string, string>;
  job(id: string): RuntimeJob | undefined;
  /** Replaces the fault; null heals. */
  setFault(fault: TrainerFault | null): void;
  /** Resets every connection; jobs go on. */
  dropConnections(): void;
  close(): Promise<void>;
}

/**
 * Starts a server on 127.0.0.1 that speaks the runtime's jobs API (jobs, events with ids to resume from, cancel, files,
 * capabilities). It trains nothing: each job plays the test's script.
 * @example
 * ```ts
 * await using trainer = await startStandInTrainer({ script: failingScript("out_of_memory", "no memory left") });
 * const backend = new RuntimeBackend(new RemoteRuntime({ url: trainer.url }));
 * ```
 */
export async function startStandInTrainer(options: StandInTrainerOptions): Promise<StandInTrainer> {
  const trainer = new Trainer(options);
  const server = await startStandInServer((exchange) => trainer.handle(exchange), { port: options.port });
  const close = async () => {
    for (const job of trainer.jobs.values()) job.cancel();
    await server.close();
  };
  return {
    url: server.url,
    port: server.port,
    requests: server.requests,
    specs: trainer.specs,
    files: trainer.files,
    job: (id) => trainer.jobs.get(id)?.toJSON(),
    setFault: (fault) => trainer.setFault(fault),
    dropConnections: () => server.dropConnections(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Folders that the files API keeps closed. */
const OWN_FOLDERS = new Set(["jobs", "cache", "checkpoints"]);

class Trainer {
  readonly jobs = new Map<string, TrainerJob>();
  readonly files = new Map<string, string>();
  readonly specs: RuntimeSpec[] = [];
  private fault: TrainerFault | null = null;
  private drops = 0;

  private readonly options: StandInTrainerOptions;

  constructor(options: StandInTrainerOptions) {
    this.options = options;
  }

  setFault(fault: TrainerFault | null): void {
    this.fault = fault;
    this.drops = fault?.kind === "drop-events" ? (fault.times ?? Number.POSITIVE_INFINITY) : 0;
    if (fault?.kind === "crash") {
      for (const job of this.jobs.values()) if (!job.isOver) job.fail("internal", "the trainer was killed by signal 9", true);
    }
  }

  async handle(exchange: Exchange): Promise<Reply | null> {
    const { recorded, request } = exchange;
    if (this.fault?.kind === "unreachable") {
      request.socket.resetAndDestroy();
      return null;
    }
    if (this.fault?.kind === "status") return errorReply(this.fault.status, "StandInFault", "a fault that was asked for");
    if (recorded.path === "/health") return { status: 200, body: { status: "ok" } };
    const { token } = this.options;
    if (token !== undefined && recorded.headers.authorization !== `Bearer ${token}`) {
      return errorReply(401, "AuthenticationError", "a valid bearer token is needed");
    }
    const [version, noun, ...rest] = recorded.path.split("/").slice(1);
    if (version === "v1" && noun === "capabilities") return { status: 200, body: capabilities(this.options.capabilities) };
    if (version === "v1" && noun === "files") return this.file(exchange, rest.join("/"));
    if (version === "v1" && noun === "jobs") return this.job(exchange, rest);
    return noRoute(recorded.method, recorded.path);
  }

  private file({ recorded }: Exchange, path: string): Reply {
    if (path === "" && recorded.method === "GET") return this.listFiles(recorded.query.get("prefix") ?? "");
    if (path === "" || path.split("/").some((part) => part === "" || part.startsWith(".")) || OWN_FOLDERS.has(path.split("/")[0] ?? "")) {
      return refuse(400, `'${path}' is not a plain relative path of a file in the root`, "path_outside_root");
    }
    const content = this.files.get(path);
    if (recorded.method === "PUT") return this.putFile(recorded, path);
    if (content === undefined) return refuse(404, `file '${path}' does not exist`, "data_invalid");
    if (recorded.method === "GET")
      return { status: 200, body: content, headers: { "content-type": "application/octet-stream", "x-content-sha256": sha256(content) } };
    this.files.delete(path);
    return { status: 204 };
  }

  private putFile({ text, headers }: RecordedRequest, path: string): Reply {
    const hash = sha256(text);
    const expected = headers["x-content-sha256"];
    if (expected !== undefined && expected !== hash) return refuse(422, `the body's SHA-256 is ${hash}, not ${expected}`, "data_invalid");
    const isNew = !this.files.has(path);
    this.files.set(path, text);
    return { status: isNew ? 201 : 200, body: { path, size: Buffer.byteLength(text), sha256: hash } };
  }

  private listFiles(prefix: string): Reply {
    const paths = [...this.files.keys()].filter((path) => path.startsWith(prefix)).sort();
    return { status: 200, body: { files: paths.map((path) => ({ path, size: Buffer.byteLength(this.files.get(path) ?? "") })) } };
  }

  private async job(exchange: Exchange, [id, action]: string[]): Promise<Reply | null> {
    const { method, path, query } = exchange.recorded;
    if (id === undefined) return method === "POST" ? this.submit(exchange) : this.listJobs(query.get("status"));
    const job = this.jobs.get(id);
    if (job === undefined) return refuse(404, `job '${id}' does not exist`, "spec_invalid");
    if (method === "GET" && action === undefined) return { status: 200, body: job };
    if (method === "GET" && action === "events") return this.events(exchange, job);
    if (method === "DELETE" && action === undefined) return this.removeJob(job);
    if (method !== "POST" || action !== "cancel") return noRoute(method, path);
    job.cancel();
    return { status: 200, body: job };
  }

  private listJobs(status: string | null): Reply {
    const jobs = [...this.jobs.values()].map((job) => job.toJSON());
    return { status: 200, body: { jobs: jobs.filter((job) => status === null || job.status === status) } };
  }

  private removeJob(job: TrainerJob): Reply {
    if (!job.isOver) return refuse(409, `job ${job.spec.job_id} has not ended: cancel it first`);
    this.jobs.delete(job.spec.job_id);
    return { status: 204 };
  }

  private submit({ recorded }: Exchange): Reply {
    const parsed = RuntimeSpec.safeParse(recorded.body);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      return refuse(400, `${issue?.path.join(".")}: ${issue?.message}`, "spec_invalid");
    }
    const spec = parsed.data;
    const existing = this.jobs.get(spec.job_id);
    if (existing !== undefined) {
      if (!isDeepStrictEqual(existing.spec, spec))
        return refuse(409, `job ${spec.job_id} exists with another spec: use another job_id`, "spec_invalid");
      const status = existing.toJSON().status;
      if (recorded.query.get("restart") !== "true" || (status !== "failed" && status !== "cancelled"))
        return { status: 200, body: existing };
    }
    const job = new TrainerJob(spec, existing?.toJSON().last_seq);
    this.jobs.set(spec.job_id, job);
    this.specs.push(spec);
    void job.run(this.scriptNow(), (path) => this.files.get(path));
    return { status: 201, body: job };
  }

  private scriptNow(): TrainerScript {
    const { fault } = this;
    if (fault?.kind === "error") {
      return () => [
        { type: "error", code: fault.code, message: fault.message ?? "a fault that was asked for", retryable: fault.retryable ?? false },
      ];
    }
    if (fault?.kind === "never-ends") {
      return async function* wait(_spec, { signal }) {
        yield { type: "phase", phase: "load" };
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      };
    }
    return this.options.script;
  }

  private async events({ recorded, request, response, signal }: Exchange, job: TrainerJob): Promise<null> {
    let next = Number(recorded.query.get("after") ?? recorded.headers["last-event-id"] ?? 0);
    const limit = this.fault?.kind === "drop-events" && this.drops > 0 ? (this.fault.afterEvents ?? 1) : Number.POSITIVE_INFINITY;
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" });
    response.flushHeaders();
    await write(response, ": events of the job\n\n");
    for (let sent = 0; !signal.aborted; ) {
      const event = job.events.find((one) => one.seq > next);
      if (event === undefined) {
        if (job.isOver) break;
        await job.changed(signal);
        continue;
      }
      await write(response, `id: ${event.seq}\ndata: ${JSON.stringify(event)}\n\n`);
      next = event.seq;
      sent += 1;
      if (sent >= limit) {
        this.drops -= 1;
        await afterDelivery();
        request.socket.destroy();
        return null;
      }
    }
    response.end();
    return null;
  }
}

function refuse(status: number, message: string, claraCode?: string): Reply {
  const types: Record<number, string> = { 404: "NotFoundError", 409: "ConflictError", 422: "UnprocessableEntityError" };
  return errorReply(
    status,
    types[status] ?? "BadRequestError",
    message,
    claraCode === undefined ? {} : { clara_code: claraCode, retryable: false },
  );
}

function noRoute(method: string, path: string): Reply {
  return errorReply(404, "NotFoundError", `${method} ${path} is not a route of this runtime`);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function capabilities(given: Partial<RuntimeCapabilities> = {}): RuntimeCapabilities {
  return {
    protocol: PROTOCOL_VERSION,
    version: "0.0.0-stand-in",
    device: "cpu",
    gpus: [],
    trainers: ["lora", "qlora", "continuous"],
    quantization_bits: [4, 8],
    serving: null,
    versions: {},
    ...given,
  };
}
