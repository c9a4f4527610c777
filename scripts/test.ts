/**
 * Runs every check of the project and sets up what they need: `npm test`.
 *
 *   npm test                     everything
 *   npm test -- vitest pytest    only the named steps: static, build, runtime, vitest, pytest
 *
 * Static checks count as one test each. The last line is `N passed, N failed`; the exit status is 1 unless all passed.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

const root = fileURLToPath(new URL("..", import.meta.url));
const only = process.argv.slice(2);
const steps = ["static", "build", "runtime", "vitest", "pytest"];
const unknown = only.find((name) => !steps.includes(name));
if (unknown) {
  process.stderr.write(`unknown step "${unknown}"; choose from: ${steps.join(", ")}\n`);
  process.exit(2);
}
const wanted = (step: string): boolean => only.length === 0 || only.includes(step);

const total = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
const scratch = mkdtempSync(join(tmpdir(), "clara-test-"));

async function run(
  title: string,
  file: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<boolean> {
  const started = Date.now();
  process.stdout.write(`\n▶ ${title}\n`);
  const result = await execa(file, args, {
    cwd: options.cwd ?? root,
    env: options.env,
    stdio: "inherit",
    preferLocal: true,
    localDir: root,
    reject: false,
  });
  process.stdout.write(`${result.failed ? "✗" : "✓"} ${title} (${((Date.now() - started) / 1000).toFixed(1)} s)\n`);
  if (result.failed && result.exitCode === undefined) process.stderr.write(`${result.shortMessage}\n`);
  return !result.failed;
}

function count(title: string, passed: number, failed: number, skipped = 0): void {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  if (failed > 0) failures.push(`${title}: ${failed}`);
}

async function check(title: string, file: string, args: string[]): Promise<void> {
  const ok = await run(title, file, args);
  count(title, ok ? 1 : 0, ok ? 0 : 1);
}

if (wanted("static")) {
  await check("types", "tsc", ["--noEmit", "-p", "."]);
  await check("lint and format", "biome", ["ci", "--error-on-warnings"]);
  await check("arrows between the rooms", "depcruise", ["src", "--config", ".dependency-cruiser.cjs"]);
  await check("the runtime's schema is the one that src/types gives", "node", ["scripts/generate-protocol.ts", "--check"]);
  await check("examples in the documentation", "node", ["scripts/check-examples.ts"]);
  await check("reference documentation", "typedoc", ["--emit", "none"]);
}

if (wanted("build")) await check("build", "npm", ["run", "--silent", "build"]);

/** Makes an environment of the runtime; `--dev` one with what its own tests need. */
async function installed(...flags: string[]): Promise<string | undefined> {
  const title = `Python environment${flags.length > 0 ? ` (${flags.join(" ")})` : ""}`;
  process.stdout.write(`\n▶ ${title}\n`);
  const args = ["dist/cli/main.js", "runtime", "install", "--json", ...flags];
  const install = await execa("node", args, { cwd: root, preferLocal: true, localDir: root, stderr: "inherit", reject: false });
  count(title, install.failed ? 0 : 1, install.failed ? 1 : 0);
  return install.failed ? undefined : (JSON.parse(install.stdout) as { python: string }).python;
}

if (wanted("runtime") || wanted("vitest")) {
  await installed();
  await installed("--engine", "vllm");
}

if (wanted("vitest")) {
  await check("test servers (Chroma, Neo4j)", "node", ["--import", "./scripts/ts-hooks.mjs", "test/setup/install-servers.ts"]);
  const report = join(scratch, "vitest.json");
  const ok = await run("vitest", "vitest", ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`]);
  try {
    const result = JSON.parse(readFileSync(report, "utf8")) as {
      numPassedTests: number;
      numFailedTests: number;
      numPendingTests: number;
      numFailedTestSuites: number;
    };
    // A file that failed to load, or an error outside any test, is a failure though no test of it failed.
    count("vitest", result.numPassedTests, Math.max(result.numFailedTests, ok ? 0 : 1), result.numPendingTests);
  } catch (error) {
    process.stderr.write(`vitest left no report: ${String(error)}\n`);
    count("vitest", 0, 1);
  }
}

if (wanted("pytest")) {
  const python = await installed("--dev");
  if (python === undefined) count("pytest (no Python environment)", 0, 1);
  else {
    const report = join(scratch, "pytest.xml");
    const ok = await run("pytest", python, ["-m", "pytest", "-q", "--junitxml", report, "tests"], {
      cwd: join(root, "gpu-runtime"),
    });
    const suite = /<testsuite [^>]*>/.exec(readIfThere(report))?.[0] ?? "";
    const number = (name: string): number => Number(new RegExp(`${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
    const failed = number("failures") + number("errors");
    count("pytest", number("tests") - failed - number("skipped"), Math.max(failed, ok ? 0 : 1), number("skipped"));
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    process.stderr.write(`pytest left no report: ${String(error)}\n`);
    return "";
  }
}

rmSync(scratch, { recursive: true, force: true });
if (failures.length > 0) process.stdout.write(`\nfailed: ${failures.join("; ")}\n`);
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
