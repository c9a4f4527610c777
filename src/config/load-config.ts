import type { ClaraOptions } from "../clara.js";
import { ConfigurationError } from "../errors.js";
import { requireKnown, requireOneOf } from "../support/known-options.js";
import type { CallOptions } from "../types/common.js";
import { checkTogether, type HostSecurity, SECURITY_SETTINGS } from "./checks.js";
import { type ConfigFile, SECTIONS, type SectionName } from "./config-file.js";
import { type Environment, overlayEnvironment } from "./environment.js";
import { notesOf } from "./notes.js";
import { parseYaml } from "./parse-yaml.js";
import { type ConfigProblem, configError, problemsOf, unknownKey } from "./problems.js";
import { readText } from "./read-text.js";
import type { SettingSources } from "./setting-sources.js";
import { toOptions } from "./to-options.js";

/** Options of `loadConfig`. */
export interface LoadConfigOptions extends CallOptions {
  /** Where `UDS3_…`, `CLARA_TRAINING_…` and `CLARA_SERVICE_…` are read; they go before the file. Default `process.env`. */
  environment?: Environment;
  /**
   * Settings of the file's section `security` that your application sees to. Any other that is true is refused, because nothing in this
   * package would enforce it. Default: none.
   */
  enforcedByHost?: readonly HostSecurity[];
}

const KNOWN: Readonly<Record<keyof LoadConfigOptions, true>> = { environment: true, enforcedByHost: true, signal: true };

/**
 * Reads a configuration file (YAML; docs/guides/configuration.md has every key) and the environment, as `createClara` takes them. What both
 * leave open keeps CLARA's defaults; what is right but has no effect here is in `notes`.
 * @throws ConfigurationError `config_invalid` with all that is wrong in `details.problems`: `{ path, line, column, variable, message }`
 * @example
 * ```ts
 * await using clara = await createClara(await loadConfig("clara.yaml"));
 * ```
 */
export async function loadConfig(file: string, options: LoadConfigOptions = {}): Promise<ClaraOptions> {
  if (typeof file !== "string" || file === "")
    throw new ConfigurationError("config_invalid", 'loadConfig needs a path: loadConfig("clara.yaml").');
  requireKnown("loadConfig", options, KNOWN);
  const { environment = process.env, enforcedByHost = [], signal } = options;
  for (const setting of enforcedByHost) requireOneOf("One of loadConfig's enforcedByHost", setting, SECURITY_SETTINGS);

  const { data, sources, problems } = await parseYaml(await readText(file, { signal }));
  if (problems.length > 0) throw configError(file, problems);
  const unknownVariables = overlayEnvironment(data, environment, sources);
  const config = checked(file, data, enforcedByHost, sources);
  const notes = notesOf(config, unknownVariables, sources);
  return { ...toOptions(config, environment), ...(notes.length === 0 ? {} : { notes }) };
}

/** Section by section, so that one that is wrong hides nothing in another. */
function checked(
  file: string,
  data: Readonly<Record<string, unknown>>,
  enforcedByHost: readonly HostSecurity[],
  sources: SettingSources,
): ConfigFile {
  const problems: ConfigProblem[] = [];
  const config: Partial<Record<SectionName, unknown>> = {};
  for (const [name, content] of Object.entries(data)) {
    if (!isSection(name)) {
      problems.push(unknownKey([name], sources));
      continue;
    }
    if (content === undefined) continue;
    const parsed = SECTIONS[name].safeParse(content);
    if (parsed.success) config[name] = parsed.data;
    else problems.push(...problemsOf(parsed.error, name, sources));
  }
  problems.push(...checkTogether(config as ConfigFile, enforcedByHost, sources));
  if (problems.length === 0) return config as ConfigFile;
  throw configError(
    file,
    problems.sort((left, right) => (left.line ?? 0) - (right.line ?? 0) || (left.column ?? 0) - (right.column ?? 0)),
  );
}

function isSection(name: string): name is SectionName {
  return Object.hasOwn(SECTIONS, name);
}
