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
  /** Answer of `GET /v1/capabilities`, over a CPU with the three trainers. */
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
  /** Specs of the jobs so far, in order. */
  readonly specs: RuntimeSpec[];
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
    get specs() {
      return [...trainer.jobs.values()].map((job) => job.spec);
    },
    files: trainer.files,
    job: (id) => trainer.jobs.get(id)?.toJSON(),
    setFault: (fault) => trainer.setFault(fault),
    dropConnections: () => server.dropConnections(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

class Trainer {
  readonly jobs = new Map<string, TrainerJob>();
  readonly files = new Map<string, string>();
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
    return notFound(recorded.path);
  }

  private file({ recorded }: Exchange, path: string): Reply {
    if (path === "" || path.split("/").some((part) => part === ".." || part === "")) {
      return errorReply(400, "BadRequestError", `the path ${path} is outside the root`, { clara_code: "path_outside_root" });
    }
    if (recorded.method === "PUT") {
      this.files.set(path, recorded.text);
      return { status: 201, body: { path, bytes: Buffer.byteLength(recorded.text) } };
    }
    const content = this.files.get(path);
    if (content === undefined) return notFound(path);
    if (recorded.method !== "DELETE") return { status: 200, body: content, headers: { "content-type": "application/octet-stream" } };
    this.files.delete(path);
    return { status: 204 };
  }

  private async job(exchange: Exchange, [id, action]: string[]): Promise<Reply | null> {
    const { method, path } = exchange.recorded;
    if (id === undefined) return method === "POST" ? this.submit(exchange) : { status: 200, body: { jobs: [...this.jobs.values()] } };
    const job = this.jobs.get(id);
    if (job === undefined) return notFound(`job ${id}`);
    if (method === "GET" && action === undefined) return { status: 200, body: job };
    if (method === "GET" && action === "events") return this.events(exchange, job);
    if (method !== "POST" || action !== "cancel") return notFound(path);
    job.cancel();
    return { status: 202, body: job };
  }

  private submit({ recorded }: Exchange): Reply {
    const parsed = RuntimeSpec.safeParse(recorded.body);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      return errorReply(400, "BadRequestError", `${issue?.path.join(".")}: ${issue?.message}`, { clara_code: "spec_invalid" });
    }
    const spec = parsed.data;
    const existing = this.jobs.get(spec.job_id);
    if (existing !== undefined) return { status: 200, body: existing };
    const job = new TrainerJob(spec);
    this.jobs.set(spec.job_id, job);
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
    let next = Number(recorded.headers["last-event-id"] ?? recorded.query.get("after") ?? 0);
    const limit = this.fault?.kind === "drop-events" && this.drops > 0 ? (this.fault.afterEvents ?? 1) : Number.POSITIVE_INFINITY;
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" });
    response.flushHeaders();
    for (let sent = 0; !signal.aborted; ) {
      const event = job.events[next];
      if (event === undefined) {
        if (job.isOver) break;
        await job.changed(signal);
        continue;
      }
      await write(response, `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
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

function notFound(what: string): Reply {
  return errorReply(404, "NotFoundError", `there is no ${what}`);
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
