import type { Store } from "../../store/store.js";
import type { CallOptions, Embedder } from "../../types/common.js";
import type { FirewallFinding } from "../../types/feedback.js";
import { allowBatch } from "../batch-rules.js";
import type { PipelineEmitter } from "../events.js";
import { type BatchScreen, holdBack } from "../held-feedback.js";
import type { TriggerOptions } from "../pipeline-options.js";
import type { FirewallOptions } from "./firewall-options.js";
import { clusterByMeaning, embedPairs } from "./meaning-clusters.js";

/** What the cap works with. */
export interface ClusterCapParts {
  store: Store;
  pipeline: string;
  embedder: Embedder;
  options: Pick<FirewallOptions, "maxAlike" | "maxClusterShare" | "clusterSimilarity">;
  /** Those about people, which say how large a batch becomes. */
  rules: TriggerOptions;
  /** Samples that a batch may hold. */
  capacity: number;
  events: PipelineEmitter;
}

interface WaitingSample {
  id: string;
  prompt: string;
  response: string;
  subject_id: string | null;
  sketch_key: string | null;
  attempts: number;
  decided_at: Date | null;
}

/**
 * Keeps one claim, worded in many ways, from filling a batch: before a batch is chosen, samples whose questions and answers mean nearly the
 * same are counted together, and what is over the cap goes to review. Numbers and negations must be the same: "room 1 is cold" and "room 2
 * is cold" are two facts, however near their vectors are.
 */
export class ClusterCap implements BatchScreen {
  readonly #parts: ClusterCapParts;

  constructor(parts: ClusterCapParts) {
    this.#parts = parts;
  }

  /** Looks at what waits in a domain. */
  async apply(domain: string, { signal }: CallOptions = {}): Promise<void> {
    const { options, pipeline, embedder } = this.#parts;
    const waiting = await this.#read(domain);
    if (waiting.length <= options.maxAlike) return;
    const clusterOf = await clusterByMeaning(
      await embedPairs(embedder, waiting, { signal }),
      waiting.map((sample) => sample.sketch_key ?? ""),
      options.clusterSimilarity,
    );
    const clusters = [...Map.groupBy(waiting, (_, index) => clusterOf[index]!).values()].map(settledFirst);
    const cap = this.#capOf(clusters);
    for (const cluster of clusters) {
      if (cluster.length <= cap) continue;
      const people = new Set(cluster.map((sample) => sample.subject_id)).size;
      const reason = `${cluster.length} that wait say nearly the same in other words, from ${people} people; ${cap} of them may be in a batch`;
      const finding: FirewallFinding = { code: "cluster", action: "review", reason };
      await holdBack(this.#parts, domain, { pipeline, ids: cluster.slice(cap).map((sample) => sample.id), finding });
    }
  }

  /** The less of a cluster is in it, the smaller the batch, and so the cap: lowered until both agree. */
  #capOf(clusters: readonly WaitingSample[][]): number {
    const { options, rules, capacity } = this.#parts;
    for (let cap = Number.POSITIVE_INFINITY; ; ) {
      const bySubject = new Map<string, number>();
      for (const { subject_id } of clusters.flatMap((cluster) => cluster.slice(0, cap))) {
        bySubject.set(subject_id ?? "", (bySubject.get(subject_id ?? "") ?? 0) + 1);
      }
      const { eligible } = allowBatch(bySubject, rules, capacity);
      const next = Math.max(options.maxAlike, Math.floor(options.maxClusterShare * eligible));
      if (next >= cap) return cap;
      cap = next;
    }
  }

  #read(domain: string): Promise<WaitingSample[]> {
    const { store, pipeline, capacity } = this.#parts;
    return store.db
      .selectFrom("samples")
      .innerJoin("feedback", "feedback.id", "samples.id")
      .select(["samples.id", "samples.prompt", "samples.response", "samples.subject_id", "sketch_key", "attempts", "decided_at"])
      .where("samples.pipeline", "=", pipeline)
      .where("samples.domain", "=", domain)
      .where("state", "=", "waiting")
      .where("objective", "=", "imitate")
      .orderBy("samples.created_at")
      .orderBy("samples.id")
      .limit(capacity * 4)
      .execute();
  }
}

/** What a person approved, or a cycle has tried, is not held any more: it takes the cluster's places first. */
function settledFirst(cluster: readonly WaitingSample[]): WaitingSample[] {
  const isSettled = ({ attempts, decided_at }: WaitingSample) => attempts > 0 || decided_at !== null;
  return [...cluster.filter(isSettled), ...cluster.filter((sample) => !isSettled(sample))];
}
