import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/setup/global-setup.ts"],
    reporters: ["default", "./test/setup/closing-line-reporter.ts"],
    maxWorkers: 2,
    testTimeout: 60_000,
    // conditions, not times: a loaded machine may take its time
    expect: { poll: { timeout: 20_000 } },
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
  },
});
