import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { installRuntime, LocalRuntime, RuntimeHttpClient, type ServiceExit, tinyBaseModel } from "../../src/runtime/index.js";
import { runTs } from "../setup/index.js";
import { until } from "../training/support/until.js";

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe("the local runtime", () => {
  let root: string;
  const env = { OMP_NUM_THREADS: "1" };

  beforeAll(async () => {
    await installRuntime();
    root = await mkdtemp(join(tmpdir(), "clara-runtime-"));
  }, 600_000);

  afterAll(() => rm(root, { recursive: true, force: true }));

  it("starts when it is asked for, answers only who has its token, starts again after a crash, and ends with close", {
    timeout: 300_000,
  }, async () => {
    const exits: ServiceExit[] = [];
    const runtime = new LocalRuntime({ root, model: tinyBaseModel(), env, onExit: (exit) => exits.push(exit) });
    expect(runtime.pid).toBeNull();
    const [endpoint, same] = await Promise.all([runtime.resolve(), runtime.resolve()]);
    expect(same).toEqual(endpoint);
    await using client = new RuntimeHttpClient(runtime);
    const capabilities = await client.capabilities();
    expect(capabilities.serving).toMatchObject({ base_model: tinyBaseModel() });
    expect((await fetch(`${endpoint.url}/v1/capabilities`)).status).toBe(401);

    const first = runtime.pid!;
    process.kill(first, "SIGKILL");
    await until("the exit", () => exits.length === 1);
    expect(exits[0]).toMatchObject({ signal: "SIGKILL" });
    expect((await client.capabilities()).serving).toEqual(capabilities.serving);
    const second = runtime.pid!;
    expect(second).not.toBe(first);

    const began = performance.now();
    await runtime.close();
    expect(performance.now() - began).toBeLessThan(5000);
    expect(isAlive(second)).toBe(false);
    expect(exits).toHaveLength(1);
    await expect(runtime.resolve()).rejects.toMatchObject({ code: "runtime_unavailable", isRetryable: false });
  });

  it("ends when its host is killed", { timeout: 120_000 }, async () => {
    const host = runTs(new URL("./support/host.ts", import.meta.url), [join(root, "hosted")]);
    const [pid, url] = (await host.waitFor("runtime ")).split(" ");
    expect((await fetch(`${url}/health`)).status).toBe(200);
    host.child.kill("SIGKILL");
    await host.ended;
    await until("the end of the runtime", () => !isAlive(Number(pid)), 10_000);
  });

  it("says what is wrong with a model that it cannot serve", { timeout: 120_000 }, async () => {
    await using runtime = new LocalRuntime({ root: join(root, "wrong"), model: join(root, "no-such-model"), env });
    await expect(runtime.resolve()).rejects.toMatchObject({
      code: "base_model_invalid",
      message: expect.stringContaining("no-such-model"),
    });
  });

  it("shows its last words when it cannot start", { timeout: 120_000 }, async () => {
    await using runtime = new LocalRuntime({ root: join(root, "args"), env, args: ["--no-such-option"] });
    await expect(runtime.resolve()).rejects.toMatchObject({
      code: "runtime_unavailable",
      message: expect.stringContaining("--no-such-option"),
    });
  });

  it("gives up a start that takes too long, and lets the caller stop waiting", { timeout: 120_000 }, async () => {
    await using slow = new LocalRuntime({ root: join(root, "slow"), model: tinyBaseModel(), env, startTimeoutMs: 100 });
    await expect(slow.resolve()).rejects.toMatchObject({
      code: "runtime_unavailable",
      message: expect.stringContaining("not ready after 0.1 s"),
    });
    await using runtime = new LocalRuntime({ root: join(root, "abort"), model: tinyBaseModel(), env });
    const waiting = runtime.resolve({ signal: AbortSignal.timeout(50) });
    await expect(waiting).rejects.toMatchObject({ code: "aborted" });
  });

  it("says how to install it where it is not installed", async () => {
    vi.stubEnv("CLARA_PYTHON_ENV", "");
    vi.stubEnv("CLARA_CACHE_DIR", join(root, "empty-cache"));
    try {
      await using runtime = new LocalRuntime({ root });
      await expect(runtime.resolve()).rejects.toMatchObject({
        code: "runtime_not_installed",
        message: expect.stringContaining("npx clara runtime install"),
      });
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
