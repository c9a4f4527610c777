import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SqlAdapterRegistry } from "../../src/router/index.js";
import { openStore } from "../../src/store/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";
import { answersOf, identityOf } from "../client/support/scored-weights.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const clara = (args: string[], options: { imports?: string[]; env?: Record<string, string> } = {}) => {
  const imports = ["./scripts/ts-hooks.mjs", ...(options.imports ?? [])].flatMap((one) => ["--import", one]);
  return execa(process.execPath, [...imports, "src/cli/main.ts", ...args], { cwd: root, reject: false, env: options.env });
};

it("on a Node that is too old the command says which one it needs", async () => {
  const older = "Object.defineProperty(process.versions, 'node', { value: '20.20.2' })";
  const result = await clara(["adapters", "list"], { imports: [`data:text/javascript,${encodeURIComponent(older)}`] });
  expect([result.exitCode, result.stderr]).toEqual([2, expect.stringMatching(/this is Node 20\.20\.2; clara-sdk needs Node >=\d+/)]);
});

describe("clara adapters verify", () => {
  let folder: string;
  let engines: StandInEngine[];
  /** Index of the engine that serves the base in the adapter's place; none: all are well. */
  let stale: number | null = null;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "clara-cli-"));
    const start = (index: number) =>
      startStandInEngine({
        token: "secret",
        answer: answersOf((path) => (path === null || stale === index ? "base" : path.replace("adapters/", ""))),
      });
    engines = [await start(0), await start(1)];
    const store = await openStore({ database: { dataDir: folder } });
    const registry = new SqlAdapterRegistry({ store });
    await registry.register({
      name: "office",
      domain: "office",
      path: "adapters/office@v1",
      baseModel: "base",
      identity: identityOf("office@v1"),
    });
    await store.close();
  }, 120_000);
  afterAll(async () => {
    await Promise.all(engines.map((engine) => engine.close()));
    await rm(folder, { recursive: true, force: true });
  });

  const verify = (...more: string[]) =>
    clara(["adapters", "verify", "office@v1", "--data", folder, "--endpoints", engines.map(({ url }) => url).join(","), ...more], {
      env: { CLARA_ENGINE_TOKEN: "secret" },
    });

  it("shows a person what each engine has shown", async () => {
    const { exitCode, stdout, stderr } = await verify();
    expect(exitCode, stderr).toBe(0);
    for (const { url } of engines) expect(stdout).toMatch(new RegExp(`${url}\\W+proven`));
  });

  it("names the one that serves something else", async () => {
    stale = 1;
    const { exitCode, stderr } = await verify();
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/office@v1.*does not serve it.*\[adapter_unproven\]/)]);
    expect(stderr).toContain(engines[1]!.url);
  });

  it("refuses a kind of engine that there is not", async () => {
    expect(await verify("--engine", "vlm")).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/engine: .*"vllm"/) });
  });
});
