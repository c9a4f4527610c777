import type { CallOptions, Embedder, Logger } from "../types/common.js";
import type { RouterSettings, RoutingStrategy } from "../types/routing.js";
import type { AdapterRegistry } from "./adapter-registry.js";
import type { OutcomeCounts } from "./decision-log.js";
import type { OutcomeSource } from "./exploration.js";
import type { RouterSettingsInput } from "./router-settings.js";

/** Options of `AdapterRouter`. */
export interface AdapterRouterOptions {
  /** Where adapters live. Default: in memory. */
  registry?: AdapterRegistry;
  /** Turns questions into vectors. Default: `LexicalEmbedder`, which needs nothing. The last 2,000 vectors are remembered. */
  embedder?: Embedder;
  /** What differs from `DEFAULT_ROUTER_SETTINGS`. */
  settings?: RouterSettingsInput;
  logger?: Logger;
  /** Decisions remembered for `recordOutcome`. Default 10,000. */
  maxDecisions?: number;
  /** Longest wait for the embedder in `route`, in milliseconds; then the default answers. Default 2,000. */
  embedTimeoutMs?: number;
  /**
   * Age from which `route` has the registry re-read behind its back, so that other processes' activations are noticed where the
   * database does not tell of them; in milliseconds, 0: only at `refresh()`, own changes and such news. Default 5,000.
   */
  refreshIntervalMs?: number;
  /**
   * Where outcomes outlive the process, for exploration: read at each refresh of the router, and they replace what it counted itself.
   * Default: exploration learns from this process's `recordOutcome` alone.
   */
  outcomes?: OutcomeSource;
  /** Seed of the exploration's chances. Default: random. */
  explorationSeed?: number;
}

/** What `route` takes besides the text. */
export interface RouteOptions extends CallOptions {
  /** The application knows the domain, named without the tenant: its active adapter answers, or the default where it has none. */
  domain?: string;
  /**
   * Whose request it is: adapters of this tenant and those that are nobody's may answer, its own before nobody's of the same domain.
   * Without it only those that are nobody's.
   */
  tenant?: string;
  /** Who asks: a domain's canary answers the same people every time. Without it chance decides, request by request. */
  subjectId?: string;
  /** This adapter answers, whatever else holds; null: the base model. */
  pinned?: string | null;
}

/** What `status()` tells. */
export interface RouterStatus {
  settings: RouterSettings;
  /** Active adapter of each domain, and whether questions find it by embedding. */
  domains: {
    domain: string;
    /** Null: the base model, beside which a canary runs. */
    adapterId: string | null;
    isEmbedded: boolean;
    canary?: { id: string; adapterId: string; share: number };
  }[];
  embeddings: {
    embedder: string;
    /** False until the first table is built, or after the embedder failed. */
    isReady: boolean;
    /** Expected calibration error of the confidences, cross-validated over the adapters' own examples, 0..1; null: nothing fitted. */
    calibrationError: number | null;
    /** Weights of the head, by feature. */
    weights: Record<string, number>;
    /** Why the last build or the last embedding failed. */
    lastError: string | null;
  };
  /** Decisions since the start, by strategy. */
  decisions: Record<RoutingStrategy, number>;
  /** Outcomes by adapter id; the base model's under `base`. */
  outcomes: Record<string, OutcomeCounts>;
  refreshedAt: string | null;
}
