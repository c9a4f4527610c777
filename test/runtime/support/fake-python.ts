import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

export interface FakePythonOptions {
  version?: string;
  hasVenv?: boolean;
  /** Shell commands of the step that installs the requirements; `$LOG` is the log file. */
  onInstall?: string;
}

/**
 * A program that answers like a Python interpreter to what the installer asks, in no time and without installing anything.
 * Each step adds a line to `log`.
 */
export async function writeFakePython(path: string, log: string, options: FakePythonOptions = {}): Promise<void> {
  const { version = "3.11.2", hasVenv = true, onInstall = "true" } = options;
  const probe = JSON.stringify({ executable: path, version, platform: "linux-test", canMakeEnvironments: hasVenv });
  const isOld = version.startsWith("2.");
  await mkdir(dirname(path), { recursive: true });
  await writeFile(
    path,
    `#!/bin/sh
LOG='${log}'
case "$*" in
  --version) echo "Python ${version}"; exit 0 ;;
  *canMakeEnvironments*) ${isOld ? "exit 1" : `echo '${probe}'; exit 0`} ;;
  *"-m venv "*) for last; do :; done; mkdir -p "$last/bin"; cp '${path}' "$last/bin/python"; echo venv >> "$LOG" ;;
  *"-m pip install"*) echo pip >> "$LOG" ;;
  *"-m uv pip install"*) echo "uv $*" >> "$LOG"; ${onInstall} ;;
  *) echo check >> "$LOG" ;;
esac
`,
  );
  await chmod(path, 0o755);
}
