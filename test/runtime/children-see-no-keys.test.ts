import { describe, expect, it } from "vitest";
import { childEnvironment } from "../../src/runtime/child-environment.js";

describe("the environment of a child process", () => {
  it("holds what it needs and no key, and nothing that could change what Python loads (A54)", () => {
    const environment = childEnvironment(
      { CLARA_RUNTIME_TOKEN: "made-here" },
      {
        PATH: "/bin",
        HOME: "/home/ada",
        https_proxy: "http://proxy",
        CUDA_VISIBLE_DEVICES: "0",
        HF_TOKEN: "hub",
        UV_INDEX_URL: "mirror",
        OPENAI_API_KEY: "secret",
        ANTHROPIC_API_KEY: "secret",
        AWS_SECRET_ACCESS_KEY: "secret",
        DATABASE_URL: "secret",
        PGPASSWORD: "secret",
        PYTHONPATH: "/evil",
        PYTHONSTARTUP: "/evil.py",
        NODE_OPTIONS: "--require /evil.js",
        LD_PRELOAD: "/evil.so",
      },
    );
    expect(environment).toEqual({
      PATH: "/bin",
      HOME: "/home/ada",
      https_proxy: "http://proxy",
      CUDA_VISIBLE_DEVICES: "0",
      HF_TOKEN: "hub",
      UV_INDEX_URL: "mirror",
      CLARA_RUNTIME_TOKEN: "made-here",
    });
  });
});
