import type { ConfigNote } from "../types/config-note.js";
import type { ConfigFile } from "./config-file.js";
import type { UnknownVariable } from "./environment.js";
import type { SettingSources } from "./setting-sources.js";

const OF_THE_HOST = "CLARA runs inside your application and opens no port; your application listens";

/** What is right and yet does nothing here, so that nobody relies on it. */
export function notesOf(config: ConfigFile, unknown: readonly UnknownVariable[], sources: SettingSources): ConfigNote[] {
  const notes: ConfigNote[] = unknown.map(({ variable, nearest }) => ({
    path: "",
    variable,
    message: `is no setting and was not read${nearest === undefined ? "" : `; did you mean ${nearest}?`}`,
  }));
  const note = (path: string, message: string): void => {
    notes.push({ path, ...sources.originOf(path, "key"), message });
  };
  const { system, service, services, uds3, continuous_learning: learning, gpu, metrics } = config;
  if (system?.name !== undefined) note("system.name", "is a label; nothing depends on it");
  if (system?.environment !== undefined) note("system.environment", "is a label; nothing depends on it");
  if (service?.name !== undefined) note("service.name", "is a label; nothing depends on it");
  if (service?.port !== undefined) note("service.port", `has no effect: ${OF_THE_HOST}`);
  if (service?.workers !== undefined)
    note("service.workers", "has no effect: start as many processes of your application, or of `clara worker`, as you need");
  for (const name of ["main_backend", "ingestion_backend", "dataset_management"] as const) {
    if (services?.[name] !== undefined && services[name].enabled !== false) note(`services.${name}`, `starts nothing: ${OF_THE_HOST}`);
  }
  if (services?.dataset_management?.enabled === false && uds3 !== undefined) {
    note("uds3", "is not connected: services.dataset_management.enabled is false");
  }
  if (services?.model_serving?.enabled === false) note("services.model_serving", "is not used: the runtime that trains also answers");
  if (services?.training_backend?.enabled === false) {
    note("services.training_backend", "is not used: training jobs wait until another process, for example `clara worker`, takes them");
  }
  if (learning?.enabled === false) note("continuous_learning.enabled", "is false: no cycle starts until your code calls pipeline.start()");
  if (gpu?.fp16 === false) note("gpu.fp16", "is false: the runtime chooses bf16 where the GPU has it, else fp16; fp32 on a CPU");
  if (metrics?.prometheus_enabled) note("metrics.prometheus_enabled", "has no effect: CLARA opens no port for metrics");
  if (metrics?.prometheus_port !== undefined) note("metrics.prometheus_port", "has no effect: CLARA opens no port for metrics");
  if (metrics?.grafana_enabled) note("metrics.grafana_enabled", "has no effect: CLARA brings no dashboard of its own");
  for (const [key, isOn] of Object.entries(config.security ?? {})) {
    if (isOn) note(`security.${key}`, "is left to your application, as enforcedByHost says");
  }
  return notes;
}
