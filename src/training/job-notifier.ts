import { type Notifications, notifyOthers } from "../store/notifications.js";
import type { Executor } from "../store/store.js";

/** In the transaction that changed the job: wakes watchers and workers of other processes when it commits. */
export function notifyOfJob(executor: Executor, jobId: string): Promise<void> {
  return notifyOthers(executor, "job", jobId);
}

/** Tells who waits that a job changed. Nobody may rely on it alone: the next poll finds what a lost notification did not tell. */
export class JobNotifier {
  readonly #notifications: Notifications;
  readonly #subscriptions = new Set<() => void>();

  constructor(notifications: Notifications) {
    this.#notifications = notifications;
  }

  /** True while other processes' changes arrive by themselves. */
  get isListening(): boolean {
    return this.#notifications.isListening;
  }

  /** Calls back with the id of each changed job, or null where any may have changed. Returns the way to stop. */
  subscribe(listener: (jobId: string | null) => void): () => void {
    const unsubscribe = this.#notifications.subscribe("job", listener);
    const stop = () => {
      unsubscribe();
      this.#subscriptions.delete(stop);
    };
    this.#subscriptions.add(stop);
    return stop;
  }

  /** A job of this process changed. */
  notify(jobId: string | null): void {
    this.#notifications.announce("job", jobId);
  }

  /** Resolves when the job changed, after `timeoutMs`, or on abort. */
  wait(jobId: string, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        unsubscribe();
        signal?.removeEventListener("abort", settle);
        resolve();
      };
      const timer = setTimeout(settle, timeoutMs);
      const unsubscribe = this.subscribe((changed) => {
        if (changed === null || changed === jobId) settle();
      });
      if (signal?.aborted) settle();
      else signal?.addEventListener("abort", settle, { once: true });
    });
  }

  /** Wakes who waits, and lets go of its subscriptions. */
  close(): void {
    this.notify(null);
    for (const stop of [...this.#subscriptions]) stop();
  }
}
