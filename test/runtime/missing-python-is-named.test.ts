import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { findPython } from "../../src/runtime/index.js";
import { writeFakePython } from "./support/fake-python.js";

describe("looking for Python", () => {
  let folder: string;
  const fake = (name: string, options: Parameters<typeof writeFakePython>[2]) =>
    writeFakePython(join(folder, name), join(folder, "log"), options);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "clara-python-"));
    vi.stubEnv("CLARA_PYTHON", "");
    // a machine with nothing but what the test puts there, and a shell to run it
    vi.stubEnv("PATH", folder);
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true, force: true });
  });

  it("says how to get it where there is none", async () => {
    await expect(findPython()).rejects.toMatchObject({
      code: "python_missing",
      message: expect.stringMatching(/3\.10 or newer.*(apt|brew|winget)/),
    });
  });

  it("says which version was found and which is needed where it is too old", async () => {
    await fake("python3", { version: "3.9.18" });
    await expect(findPython()).rejects.toMatchObject({
      code: "python_too_old",
      message: expect.stringMatching(/3\.9\.18.*3\.10/),
      details: { version: "3.9.18", needed: "3.10" },
    });
  });

  it("knows Python 2 for what it is", async () => {
    await fake("python", { version: "2.7.18" });
    await expect(findPython()).rejects.toMatchObject({ code: "python_too_old", message: expect.stringContaining("2.7.18") });
  });

  it("says which package is missing where venv is (Debian)", async () => {
    await fake("python3", { version: "3.11.2", hasVenv: false });
    await expect(findPython()).rejects.toMatchObject({
      code: "python_missing",
      message: expect.stringMatching(/apt install python3\.11-venv/),
    });
  });

  it("passes over one that cannot be used for one that can", async () => {
    await fake("python3.12", { version: "3.12.0", hasVenv: false });
    await fake("python3", { version: "3.9.1" });
    await fake("python3.10", { version: "3.10.4" });
    expect(await findPython()).toMatchObject({ version: "3.10.4" });
  });

  it("takes the one that CLARA_PYTHON names, and no other", async () => {
    await fake("python3", { version: "3.12.0" });
    await fake("special", { version: "3.11.9" });
    vi.stubEnv("CLARA_PYTHON", join(folder, "special"));
    expect(await findPython()).toMatchObject({ version: "3.11.9" });
    vi.stubEnv("CLARA_PYTHON", join(folder, "gone"));
    await expect(findPython()).rejects.toMatchObject({ code: "python_missing", message: expect.stringContaining("gone") });
  });
});
