export type { HostSecurity } from "./checks.js";
export type { Environment } from "./environment.js";
export { type LoadConfigOptions, loadConfig } from "./load-config.js";
export type { ConfigProblem } from "./problems.js";
export type { Place } from "./setting-sources.js";
