import { QUALITY_DEFAULTS } from "../datasets/quality-checker.js";
import { resolvePipelineOptions } from "../pipeline/pipeline-options.js";
import { DEFAULT_ROUTER_SETTINGS } from "../router/router-settings.js";
import type { ConfigFile } from "./config-file.js";
import { type ConfigProblem, problemAt } from "./problems.js";
import type { SettingSources } from "./setting-sources.js";

/** Settings of the section `security` that your application may see to. */
export type HostSecurity = "jwt_enabled" | "rate_limiting" | "https_only";

/** Why each, where it is true, must not be taken without a word. */
const SECURITY: Readonly<Record<HostSecurity, string>> = {
  jwt_enabled: "checks no JWT",
  rate_limiting: "limits no requests",
  https_only: "refuses no plain HTTP",
};

export const SECURITY_SETTINGS = Object.keys(SECURITY) as HostSecurity[];

/** What no single key shows: settings that contradict each other, and protection that nothing here would give. */
export function checkTogether(config: ConfigFile, enforcedByHost: readonly HostSecurity[], sources: SettingSources): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const refuse = (path: string, message: string): void => {
    problems.push(problemAt(path, message, sources));
  };
  const { services, training, continuous_learning: learning, dataset, router, security } = config;

  for (const key of SECURITY_SETTINGS) {
    if (!security?.[key] || enforcedByHost.includes(key)) continue;
    const advice = `see to it in your application and say so by loadConfig(file, { enforcedByHost: ["${key}"] }), or write false`;
    refuse(`security.${key}`, `is true, but CLARA opens no port and so ${SECURITY[key]}: ${advice}`);
  }

  const serving = services?.model_serving;
  if (serving?.port === undefined && serving?.enabled !== false) {
    for (const key of ["engine", "host", "base_model"] as const) {
      if (serving?.[key] !== undefined)
        refuse(`services.model_serving.${key}`, "needs services.model_serving.port, where the engine listens");
    }
  }
  const trainer = services?.training_backend;
  if (trainer?.host !== undefined && trainer.port === undefined) {
    refuse("services.training_backend.host", "needs services.training_backend.port, where the runtime listens");
  }
  const [jobs, backendJobs] = [training?.max_concurrent_jobs, trainer?.max_concurrent_jobs];
  const isFromEnvironment = "variable" in sources.originOf("training.max_concurrent_jobs");
  if (jobs !== undefined && backendJobs !== undefined && jobs !== backendJobs && !isFromEnvironment) {
    refuse("training.max_concurrent_jobs", "is not services.training_backend.max_concurrent_jobs, which means the same: keep one of them");
  }

  const defaults = resolvePipelineOptions();
  const { buffer_size: capacity = defaults.bufferCapacity, min_batch_size: size = defaults.triggers.size } = learning ?? {};
  if (size > capacity) {
    const key = learning?.min_batch_size === undefined ? "buffer_size" : "min_batch_size";
    refuse(`continuous_learning.${key}`, `does not fit: ${size} samples start a cycle, and the buffer is full with ${capacity}`);
  }
  const { min_length: shortest = QUALITY_DEFAULTS.minLength, max_length: longest = QUALITY_DEFAULTS.maxLength } = dataset?.quality ?? {};
  if (shortest > longest) {
    const key = dataset?.quality?.min_length === undefined ? "max_length" : "min_length";
    refuse(`dataset.quality.${key}`, `does not fit: with min_length ${shortest} and max_length ${longest} nothing would pass`);
  }
  const weights = dataset?.search_weights;
  const type = dataset?.default_search_type ?? "hybrid";
  const weight = weights && (type === "hybrid" ? weights.vector + weights.graph + weights.keyword : weights[type]);
  if (weight === 0) refuse("dataset.search_weights", `give ${type} search no weight`);

  const { confLow, confHigh } = DEFAULT_ROUTER_SETTINGS.thresholds;
  const { conf_low: low = confLow, conf_high: high = confHigh } = router?.thresholds ?? {};
  if (low > high) {
    const key = router?.thresholds?.conf_low === undefined ? "conf_high" : "conf_low";
    refuse(`router.thresholds.${key}`, `does not fit: conf_low is ${low} and must not be above conf_high, which is ${high}`);
  }
  return problems;
}
