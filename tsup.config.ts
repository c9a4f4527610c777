import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    "testing/index": "src/testing/index.ts",
    "integrations/openai": "src/integrations/openai.ts",
    "integrations/ai-sdk": "src/integrations/ai-sdk.ts",
    "uds3/index": "src/uds3/index.ts",
    "cli/main": "src/cli/main.ts",
    "datasets/parquet-worker": "src/datasets/import/parquet-worker.ts",
    "store/pglite-worker": "src/store/pglite-worker.ts",
  },
  format: "esm",
  target: "node22",
  platform: "node",
  splitting: true,
  sourcemap: true,
  clean: true,
});
