import { execa } from "execa";
import { ConfigurationError } from "../errors.js";
import type { CallOptions } from "../types/common.js";
import { childEnvironment } from "./child-environment.js";

/** A Python interpreter that can make environments. */
export interface Python {
  executable: string;
  /** For example `3.11.2`. */
  version: string;
  /** Operating system and processor, for example `linux-x86_64`. */
  platform: string;
}

interface Probe extends Python {
  canMakeEnvironments: boolean;
}

const OLDEST = [3, 10] as const;
const CANDIDATES = ["python3.13", "python3.12", "python3.11", "python3.10", "python3", "python"];
const PROBE = `
import importlib.util as u, json, platform, sys
print(json.dumps({"executable": sys.executable, "version": platform.python_version(), "platform": sys.platform + "-" + platform.machine(),
  "canMakeEnvironments": all(u.find_spec(n) for n in ("venv", "ensurepip"))}))`;

/**
 * The first of `python`, `CLARA_PYTHON` and the usual names that is Python 3.10 or newer and can make environments.
 * @throws ConfigurationError `python_missing`, `python_too_old`
 * @example
 * ```ts
 * const { executable, version } = await findPython();
 * ```
 */
export async function findPython(options: CallOptions & { python?: string } = {}): Promise<Python> {
  const chosen = options.python ?? process.env.CLARA_PYTHON;
  const candidates = chosen ? [chosen] : CANDIDATES;
  let tooOld: Probe | null = null;
  let incomplete: Probe | null = null;
  for (const candidate of candidates) {
    const found = await probe(candidate, options.signal);
    if (found === null) continue;
    if (!isNewEnough(found.version)) tooOld ??= found;
    else if (!found.canMakeEnvironments) incomplete ??= found;
    else return { executable: found.executable, version: found.version, platform: found.platform };
  }
  const needed = OLDEST.join(".");
  if (incomplete !== null) {
    const minor = incomplete.version.split(".").slice(0, 2).join(".");
    throw new ConfigurationError(
      "python_missing",
      `Python ${incomplete.version} (${incomplete.executable}) lacks its modules venv and ensurepip. On Debian and Ubuntu: sudo apt install python${minor}-venv (or python3-venv).`,
      { details: { executable: incomplete.executable, version: incomplete.version } },
    );
  }
  if (tooOld !== null) {
    throw new ConfigurationError(
      "python_too_old",
      `Python ${tooOld.version} (${tooOld.executable}) is too old: the runtime needs ${needed} or newer. ${howToGet()} Or name another one by CLARA_PYTHON.`,
      { details: { executable: tooOld.executable, version: tooOld.version, needed } },
    );
  }
  throw new ConfigurationError(
    "python_missing",
    `${chosen ? `${chosen} is no Python that runs` : "No Python was found"}: the runtime needs ${needed} or newer. ${howToGet()} Or name one by CLARA_PYTHON.`,
    { details: { tried: candidates, needed } },
  );
}

async function probe(command: string, signal?: AbortSignal): Promise<Probe | null> {
  const result = await execa(command, ["-I", "-c", PROBE], {
    reject: false,
    timeout: 20_000,
    env: childEnvironment(),
    extendEnv: false,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  if (result.failed) return versionOnly(command, signal);
  try {
    return JSON.parse(result.stdout) as Probe;
  } catch {
    return null;
  }
}

/** A Python 2 or a broken 3 cannot run the probe, but says what it is. */
async function versionOnly(command: string, signal?: AbortSignal): Promise<Probe | null> {
  const result = await execa(command, ["--version"], {
    reject: false,
    timeout: 20_000,
    all: true,
    env: childEnvironment(),
    extendEnv: false,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  const version = /Python (\d+\.\d+[\w.]*)/.exec(result.all ?? "")?.[1];
  if (version === undefined || isNewEnough(version)) return null;
  return { executable: command, version, platform: "", canMakeEnvironments: false };
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

function howToGet(): string {
  if (process.platform === "darwin") return "Get it with: brew install python@3.12.";
  if (process.platform === "win32") return "Get it with: winget install Python.Python.3.12.";
  return "Get it with: sudo apt install python3 python3-venv (Debian, Ubuntu) or sudo dnf install python3 (Fedora, RHEL).";
}
