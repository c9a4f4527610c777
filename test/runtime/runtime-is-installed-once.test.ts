import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { findRuntime, type InstallStep, installRuntime } from "../../src/runtime/index.js";
import { runTs } from "../setup/index.js";
import { writeFakePython } from "./support/fake-python.js";

const installer = new URL("./support/install.ts", import.meta.url);
const smallDisk = await statfs("/dev/shm").then(
  ({ bavail, bsize }) => bavail * bsize > 0 && bavail * bsize < 2e9,
  () => false,
);

describe("installing the runtime", () => {
  let folder: string;
  let python: string;
  let cacheFolder: string;
  let log: string;
  const steps = async () => (existsSync(log) ? (await readFile(log, "utf8")).trim().split("\n") : []);

  beforeEach(async () => {
    vi.stubEnv("CLARA_PYTHON_ENV", "");
    folder = await mkdtemp(join(tmpdir(), "clara-install-"));
    python = join(folder, "python");
    cacheFolder = join(folder, "cache");
    log = join(folder, "log");
    await writeFakePython(python, log);
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true, force: true });
  });

  it("happens once; later calls find it", async () => {
    const seen: InstallStep[] = [];
    expect(await findRuntime({ python, cacheFolder })).toBeNull();
    const first = await installRuntime({ python, cacheFolder, onProgress: (step) => seen.push(step) });
    const done = await steps();
    expect(done.filter((line) => line.startsWith("uv"))).toHaveLength(1);
    expect(done.at(-1)).toBe("check");
    expect(seen.map(({ percent }) => percent)).toEqual(seen.map(({ percent }) => percent).sort((a, b) => a - b));
    expect(seen.at(-1)).toMatchObject({ step: "done", percent: 100 });
    expect(await installRuntime({ python, cacheFolder })).toEqual(first);
    expect(await findRuntime({ python, cacheFolder })).toEqual(first);
    expect(await steps()).toEqual(done);
  });

  it("asks PyTorch's own index first without a GPU, and takes PyPI when that does not answer", async () => {
    await writeFakePython(python, log, { onInstall: `case "$*" in *torch-backend*) exit 2 ;; esac` });
    await installRuntime({ python, cacheFolder });
    const tries = (await steps()).filter((line) => line.startsWith("uv"));
    expect(tries.map((line) => line.includes("--torch-backend=cpu"))).toEqual([true, false]);
    for (const line of tries) expect(line).toMatch(/--override \S+overrides\.txt -r \S+requirements\.txt/);
  });

  it("happens once when two processes begin at the same time", async () => {
    await writeFakePython(python, log, { onInstall: "sleep 1" });
    const processes = [runTs(installer, [python, cacheFolder]), runTs(installer, [python, cacheFolder])];
    const folders = await Promise.all(processes.map((child) => child.waitFor("installed ")));
    expect(new Set(folders).size).toBe(1);
    expect((await steps()).filter((line) => line === "venv")).toHaveLength(1);
  });

  it("begins anew where an earlier one was killed", { timeout: 60_000 }, async () => {
    await writeFakePython(python, log, { onInstall: "sleep 30" });
    const killed = runTs(installer, [python, cacheFolder]);
    await killed.waitFor("step packages");
    killed.child.kill("SIGKILL");
    await killed.ended;
    expect(await findRuntime({ python, cacheFolder })).toBeNull();
    await writeFakePython(python, log);
    const environment = await installRuntime({ python, cacheFolder });
    expect(await findRuntime({ python, cacheFolder })).toEqual(environment);
    expect((await steps()).filter((line) => line === "venv")).toHaveLength(2);
  });

  it("leaves nothing that counts as installed when it fails, and says what failed", async () => {
    await writeFakePython(python, log, { onInstall: "echo 'no such version: torch==99' >&2; exit 1" });
    await expect(installRuntime({ python, cacheFolder })).rejects.toMatchObject({
      code: "runtime_install_failed",
      message: expect.stringContaining("no such version: torch==99"),
    });
    expect(await findRuntime({ python, cacheFolder })).toBeNull();
  });

  it("names the folder when the disk is full", async () => {
    await writeFakePython(python, log, { onInstall: "echo 'error: No space left on device (os error 28)' >&2; exit 1" });
    await expect(installRuntime({ python, cacheFolder })).rejects.toMatchObject({
      code: "disk_full",
      message: expect.stringContaining(cacheFolder),
    });
  });

  it.skipIf(!smallDisk)("does not even begin where the disk is too small", async () => {
    const small = await mkdtemp("/dev/shm/clara-install-");
    try {
      await expect(installRuntime({ python, cacheFolder: small })).rejects.toMatchObject({ code: "disk_full", details: { folder: small } });
      expect(await steps()).toEqual([]);
    } finally {
      await rm(small, { recursive: true, force: true });
    }
  });

  it("stops when it is aborted", async () => {
    await writeFakePython(python, log, { onInstall: "sleep 30" });
    const controller = new AbortController();
    const installing = installRuntime({
      python,
      cacheFolder,
      signal: controller.signal,
      onProgress: ({ step }) => {
        if (step === "packages") controller.abort();
      },
    });
    await expect(installing).rejects.toMatchObject({ code: "aborted" });
    expect(await findRuntime({ python, cacheFolder })).toBeNull();
  });

  it("is made anew for another Python, and is not shared with another engine", async () => {
    const { folder: first } = await installRuntime({ python, cacheFolder });
    await writeFakePython(python, log, { version: "3.12.1" });
    expect(await findRuntime({ python, cacheFolder })).toBeNull();
    expect((await installRuntime({ python, cacheFolder })).folder).not.toBe(first);
    expect(await findRuntime({ python, cacheFolder, engine: "vllm" })).toBeNull();
  });

  it("uses the environment that CLARA_PYTHON_ENV names as it is", async () => {
    const { folder: made } = await installRuntime({ python, cacheFolder });
    vi.stubEnv("CLARA_PYTHON_ENV", made);
    expect(await findRuntime()).toMatchObject({ folder: made, python: join(made, "bin", "python") });
    vi.stubEnv("CLARA_PYTHON_ENV", join(folder, "nothing"));
    await expect(findRuntime()).rejects.toMatchObject({ code: "config_invalid", message: expect.stringContaining("CLARA_PYTHON_ENV") });
  });
});
