export type {
  ActivationChange,
  ActivationOptions,
  ActivationPeriod,
  AdapterFilter,
  AdapterRegistry,
  CanaryEnd,
  CanaryFilter,
  CanaryStart,
  RegistryChangeOptions,
} from "./adapter-registry.js";
export { AdapterRouter } from "./adapter-router.js";
export type { AdapterRouterOptions, RouteOptions, RouterStatus } from "./adapter-router-options.js";
export type { AdapterComparison, ComparedValue } from "./compare-adapters.js";
export type { OutcomeCounts, RecordedDecision } from "./decision-log.js";
export type { DomainVerdict } from "./domain-rules.js";
export type { ExplainedStep, RoutingExplanation } from "./explain-decision.js";
export type { ArmOutcomes, ExplorationEvidence, OutcomeSource } from "./exploration.js";
export { judgePolicy, type LoggedOutcome, type PolicyJudgement, type RewardEstimate, type RoutingPolicy } from "./judge-policy.js";
export { MemoryAdapterRegistry } from "./memory-adapter-registry.js";
export { DEFAULT_ROUTER_SETTINGS, type PolicyChange, type RouterSettingsInput } from "./router-settings.js";
export { SqlAdapterRegistry, type SqlAdapterRegistryOptions } from "./sql-adapter-registry.js";
export type { Beta } from "./thompson.js";
