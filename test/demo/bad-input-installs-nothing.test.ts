import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runDemo } from "../../src/cli/demo/run.js";
import { ensureRuntime } from "../../src/cli/ensure-runtime.js";

vi.mock("../../src/cli/ensure-runtime.js", () => ({ ensureRuntime: vi.fn(() => Promise.reject(new Error("installing"))) }));

describe("the demo", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "clara-demo-input-"));
    vi.mocked(ensureRuntime).mockClear();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const run = (input: { keep?: string; feedback?: string[] }) =>
    runDemo({ feedback: [], trainer: "lora", engine: "local", ...input }, { step() {}, detail() {} });

  it.each([
    ["holds files", "holds files already", (keep: string) => mkdir(join(keep, "something"), { recursive: true })],
    ["is a file", "cannot be used", (keep: string) => writeFile(keep, "")],
  ])("refuses a folder to keep that %s before it installs the runtime", async (_name, message, make) => {
    const keep = join(folder, "state");
    await make(keep);
    await expect(run({ keep })).rejects.toMatchObject({ code: "config_invalid", message: expect.stringContaining(message) });
    expect(ensureRuntime).not.toHaveBeenCalled();
  });

  // root may write everywhere
  it.skipIf(process.getuid?.() === 0)("refuses a folder to keep that it may not write to", async () => {
    await chmod(folder, 0o500);
    for (const keep of [folder, join(folder, "state")]) await expect(run({ keep })).rejects.toMatchObject({ code: "config_invalid" });
    expect(ensureRuntime).not.toHaveBeenCalled();
  });

  it("refuses a feedback file that is not there before it installs the runtime", async () => {
    await expect(run({ feedback: [join(folder, "absent.jsonl")] })).rejects.toMatchObject({ code: "input_invalid" });
    expect(ensureRuntime).not.toHaveBeenCalled();
  });

  it.each(["state", "deep/state"])("installs the runtime for a folder %s that is new", async (keep) => {
    await expect(run({ keep: join(folder, keep) })).rejects.toThrow("installing");
    expect(ensureRuntime).toHaveBeenCalledOnce();
  });
});
