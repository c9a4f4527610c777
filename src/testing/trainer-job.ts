import type { RuntimeErrorCode, RuntimeEvent, RuntimeJob, RuntimeSpec } from "../types/runtime-protocol.js";
import type { ScriptedEvent, TrainerScript } from "./trainer-script.js";

/** One job of the trainer stand-in: its state, its events so far, and who waits for more. */
export class TrainerJob {
  readonly events: RuntimeEvent[] = [];
  private readonly controller = new AbortController();
  private readonly listeners = new Set<() => void>();
  private readonly createdAt = Date.now() / 1000;
  private startedAt: number | null = null;
  private endedAt: number | null = null;
  private status: RuntimeJob["status"] = "queued";
  private error: RuntimeJob["error"] = null;

  readonly spec: RuntimeSpec;

  /** Number of the last event of an earlier run of the same job. */
  private readonly firstSeq: number;

  constructor(spec: RuntimeSpec, seqBefore = 0) {
    this.spec = spec;
    this.firstSeq = seqBefore + 1;
  }

  get isOver(): boolean {
    return this.endedAt !== null;
  }

  /** The body of `GET /v1/jobs/{id}`. */
  toJSON(): RuntimeJob {
    return {
      job_id: this.spec.job_id,
      kind: this.spec.kind,
      status: this.status,
      created_at: this.createdAt,
      started_at: this.startedAt,
      ended_at: this.endedAt,
      last_seq: this.firstSeq - 1 + this.events.length,
      error: this.error,
    };
  }

  /** Plays the script to its end; never rejects. */
  async run(script: TrainerScript, file: (path: string) => string | undefined): Promise<void> {
    this.startedAt = Date.now() / 1000;
    this.status = "running";
    try {
      for await (const event of script(this.spec, { signal: this.controller.signal, file })) {
        if (this.isOver) return;
        this.append(event);
      }
      if (!this.isOver) this.fail("internal", "the script ended without a result or an error", true);
    } catch (error) {
      if (!this.isOver) this.fail("internal", `the script threw: ${String(error)}`, true);
    }
  }

  /** Stops the script; the job ends as cancelled. */
  cancel(): void {
    if (this.isOver) return;
    this.fail("cancelled", "the job was cancelled", false);
    this.controller.abort();
  }

  /** Ends the job with an error event. */
  fail(code: RuntimeErrorCode, message: string, retryable: boolean): void {
    this.append({ type: "error", code, message, retryable });
  }

  /** Resolves at the next event, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        this.listeners.delete(settle);
        signal.removeEventListener("abort", settle);
        resolve();
      };
      this.listeners.add(settle);
      signal.addEventListener("abort", settle);
      if (signal.aborted) settle();
    });
  }

  private append(event: ScriptedEvent): void {
    const stamped = { ...event, seq: this.firstSeq + this.events.length, time: Date.now() / 1000 } as RuntimeEvent;
    this.events.push(stamped);
    if (stamped.type === "result") this.end("completed");
    if (stamped.type === "error") {
      this.error = { code: stamped.code, message: stamped.message, retryable: stamped.retryable };
      this.end(stamped.code === "cancelled" ? "cancelled" : "failed");
    }
    for (const listener of [...this.listeners]) listener();
  }

  private end(status: RuntimeJob["status"]): void {
    this.status = status;
    this.endedAt = Date.now() / 1000;
  }
}
