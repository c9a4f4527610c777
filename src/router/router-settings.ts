import { z } from "zod";
import { type ClaraError, ConfigurationError, ValidationError } from "../errors.js";
import { type DomainRule, RouterSettings } from "../types/routing.js";
import { issuesOf } from "./adapter-record.js";

/** What `configure` takes: absent fields, also single thresholds, stay as they are. */
export type RouterSettingsInput = Partial<Omit<RouterSettings, "thresholds" | "rules">> & {
  thresholds?: Partial<RouterSettings["thresholds"]>;
  rules?: DomainRule[];
};

/** A change that can be judged by logged decisions: what the router does with its confidence. */
export type PolicyChange = Pick<RouterSettingsInput, "enableExploration" | "uncertain"> & {
  thresholds?: Partial<Pick<RouterSettings["thresholds"], "confLow" | "confHigh">>;
};

export const DEFAULT_ROUTER_SETTINGS = {
  defaultAdapter: null,
  enableEmbeddings: true,
  enableExploration: false,
  rules: [],
  thresholds: { hardDomain: 1.5, confLow: 0.55, confHigh: 0.85 },
  uncertain: "candidate",
} satisfies RouterSettings;

const StrictSettings = z
  .strictObject({ ...RouterSettings.shape, thresholds: z.strictObject(RouterSettings.shape.thresholds.shape) })
  .refine(({ thresholds }) => thresholds.confLow <= thresholds.confHigh, {
    path: ["thresholds", "confLow"],
    message: "must not be above thresholds.confHigh",
  });

/** The settings with the change applied; throws an error of the given kind that names each wrong field. */
export function mergeRouterSettings(
  settings: RouterSettings,
  change: RouterSettingsInput,
  failure: "configuration" | "input" = "input",
): RouterSettings {
  const given = withoutUndefined(change);
  const thresholds = isRecord(given.thresholds) ? { ...settings.thresholds, ...withoutUndefined(given.thresholds) } : given.thresholds;
  const merged = StrictSettings.safeParse({ ...settings, ...given, thresholds: thresholds ?? settings.thresholds });
  if (merged.success) return merged.data;
  throw settingsError(merged.error, failure);
}

function settingsError(error: z.ZodError, failure: "configuration" | "input"): ClaraError {
  const message = `The router's settings are wrong: ${issuesOf(error)}.`;
  const options = { details: { issues: error.issues.map(({ path, message: text }) => ({ path: path.join("."), message: text })) } };
  return failure === "configuration"
    ? new ConfigurationError("config_invalid", message, options)
    : new ValidationError("input_invalid", message, options);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}
