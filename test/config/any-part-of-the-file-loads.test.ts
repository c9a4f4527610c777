import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { ClaraError } from "../../src/index.js";
import { resolvePipelineOptions } from "../../src/pipeline/pipeline-options.js";
import { DEFAULT_ROUTER_SETTINGS, mergeRouterSettings } from "../../src/router/router-settings.js";
import { loadText, useFolder } from "./support/load-text.js";

useFolder();

const file = readFileSync(new URL("fixtures/system_config.yaml", import.meta.url), "utf8");
const whole = parse(file) as Record<string, Record<string, unknown>>;
/** Keys that mean something only together. */
const TOGETHER = ["uds3", "services"];
const parts = Object.entries(whole).flatMap(([section, content]): [section: string, key: string | null][] =>
  TOGETHER.includes(section) ? [[section, null]] : Object.keys(content).map((key) => [section, key]),
);

test("any part of the plan's file loads, and pipeline and router take what comes of it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.subarray(parts), async (chosen) => {
      const config: Record<string, Record<string, unknown>> = {};
      for (const [section, key] of chosen) {
        config[section] = key === null ? (whole[section] as Record<string, unknown>) : { ...config[section], [key]: whole[section]?.[key] };
      }
      const options = await loadText(stringify(config));
      resolvePipelineOptions(options.pipeline);
      mergeRouterSettings(DEFAULT_ROUTER_SETTINGS, options.router ?? {}, "configuration");
      expect(options.uds3 === undefined).toBe(config.uds3 === undefined);
    }),
  );
});

test("whatever a file holds, it loads or is refused with places; nothing else is thrown", async () => {
  const lines = file.split("\n").map((line) => fc.constant(line));
  const line = fc.oneof(
    ...lines,
    fc.string({ maxLength: 20 }),
    fc.constantFrom("- ", "a: &a", "b: *a", "? x", "---", "{", "]", "!t x", "|", "\t"),
  );
  const text = fc.oneof(
    fc.array(line, { maxLength: 30 }).map((chosen) => chosen.join("\n")),
    fc.string({ unit: "binary", maxLength: 60 }),
  );
  await fc.assert(
    fc.asyncProperty(text, async (yaml) => {
      const error = await loadText(yaml).then(
        () => null,
        (refusal: unknown) => refusal,
      );
      if (error === null) return;
      if (!ClaraError.isInstance(error)) throw error;
      expect(error.code).toBe("config_invalid");
      for (const { line: at, column } of error.details.problems as { line: number; column: number }[]) {
        expect(at).toBeGreaterThanOrEqual(1);
        expect(column).toBeGreaterThanOrEqual(1);
      }
    }),
    { numRuns: 300 },
  );
});
