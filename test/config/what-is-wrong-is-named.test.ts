import { mkdir } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { loadConfig } from "../../src/index.js";
import { loadText, problemsOf, useFolder } from "./support/load-text.js";

const folder = useFolder();

test.each<[yaml: string, line: number, column: number, path: string, says: RegExp]>([
  // keys
  ["training:\n  default_trainr: lora", 2, 3, "training.default_trainr", /did you mean default_trainer\?/],
  ["securty: {}", 1, 1, "securty", /did you mean security\?/],
  [
    "training:\n  lora:\n    train_interval_seconds: 3",
    3,
    5,
    "training.lora.train_interval_seconds",
    /stands at continuous_learning\.train/,
  ],
  ["training:\n  zzzz: 1", 2, 3, "training.zzzz", /there are: default_trainer, base_model/],
  ["router: {__proto__: {default_adapter: x}}", 1, 10, "router.__proto__", /no key/],
  ["<<: {training: {}}", 1, 1, '"<<"', /no key/],
  ["training:\n  lora:\n    rr:\n", 3, 5, "training.lora.rr", /no key/],
  ["securty:\n", 1, 1, "securty", /security/],
  ["1: x", 1, 1, "1", /no key/],
  // kinds and bounds
  ["training:\n  lora:\n    r: '16'", 3, 8, "training.lora.r", /a number, without quotes/],
  ["training: {lora: {r: 1.5}}", 1, 22, "training.lora.r", /whole number/],
  ["training: {lora: {r: .nan}}", 1, 22, "training.lora.r", /number/],
  ["training: {lora: {alpha: 0}}", 1, 26, "training.lora.alpha", /above 0/],
  ["training: {lora: {target_modules: q_proj}}", 1, 35, "training.lora.target_modules", /a list/],
  ["training: {lora: {target_modules: []}}", 1, 35, "training.lora.target_modules", /at least one/],
  ["training: {lora: {target_modules: [q_proj, 7]}}", 1, 44, "training.lora.target_modules.1", /a text/],
  ["training: {lora: {bits: 4}}", 1, 19, "training.lora.bits", /no key/],
  ["training: {qlora: {bits: 5}}", 1, 26, "training.qlora.bits", /4 or 8/],
  ["training: {default_trainer: preference}", 1, 29, "training.default_trainer", /one of: lora, qlora, continuous/],
  ["system: {name: 2026}", 1, 16, "system.name", /put it in quotes/],
  ["system: {name: ''}", 1, 16, "system.name", /empty/],
  ["services:\n  main_backend: {port: 65536}", 2, 24, "services.main_backend.port", /at most 65535/],
  ["continuous_learning:\n  enabled: yes", 2, 12, "continuous_learning.enabled", /true or false/],
  ["continuous_learning: {quality_threshold: -1}", 1, 42, "continuous_learning.quality_threshold", /at least 0/],
  ["router: [a]", 1, 9, "router", /a section/],
  ["gpu: {max_memory: much}", 1, 19, "gpu.max_memory", /like 10GB/],
  // UDS3
  ["uds3:\n  postgresql: {host: a}\n  neo4j: {host: a}", 1, 1, "uds3.chromadb", /UDS3_CHROMA_HOST/],
  ["uds3:\n  postgresql: {host: a}\n  neo4j: {host: a}\n  chromadb:", 4, 3, "uds3.chromadb", /UDS3_CHROMA_HOST/],
  ["uds3:\n  postgresql: {host: a}\n  neo4j: {host: a}\n  chromadb: {port: 1}", 4, 3, "uds3.chromadb.host", /UDS3_CHROMA_HOST/],
  ["uds3: {postgresql: {host: a}, chromadb: {host: a}, neo4j: {host: 'bolt://a'}}", 1, 66, "uds3.neo4j.host", /no host/],
  // settings that do not go together
  ["security:\n  jwt_enabled: true", 2, 16, "security.jwt_enabled", /enforcedByHost/],
  ["services: {model_serving: {engine: ollama}}", 1, 36, "services.model_serving.engine", /needs services\.model_serving\.port/],
  ["services: {training_backend: {host: gpu}}", 1, 37, "services.training_backend.host", /needs services\.training_backend\.port/],
  [
    "training: {max_concurrent_jobs: 1}\nservices: {training_backend: {max_concurrent_jobs: 2}}",
    1,
    33,
    "training.max_concurrent_jobs",
    /keep one/,
  ],
  ["continuous_learning: {buffer_size: 5}", 1, 36, "continuous_learning.buffer_size", /50 samples start a cycle/],
  ["continuous_learning: {min_batch_size: 501}", 1, 39, "continuous_learning.min_batch_size", /full with 500/],
  ["dataset: {quality: {max_length: 40}}", 1, 33, "dataset.quality.max_length", /min_length 50/],
  ["dataset: {search_weights: {vector: 0, graph: 0, keyword: 0}}", 1, 27, "dataset.search_weights", /hybrid search no weight/],
  ["router: {thresholds: {conf_low: 0.9}}", 1, 33, "router.thresholds.conf_low", /0\.85/],
  ["router: {thresholds: {conf_high: 0.5}}", 1, 34, "router.thresholds.conf_high", /0\.55/],
  // YAML
  ["training:\n\tlora: {}", 2, 1, "", /tab/],
  ["training:\n  lora: {r: 1}\n  lora: {r: 2}", 3, 3, "training.lora", /twice, first in line 2/],
  ["system: {name: a: b}", 1, 16, "", /value in quotes/],
  ["system:\n  name: a: b", 2, 9, "", /second `: `/],
  ["system:\n  name: 'x", 2, 11, "", /end of a quote/],
  ["system:\n  name: @x", 2, 9, "", /put it in quotes/],
  ["training: {lora: [1\nrouter: {}", 2, 1, "", /bracket/],
  ["system: !!python/object:os.system x", 1, 9, "", /tag/],
  ["system:\n  name: x\n---\nsystem:\n  name: y", 3, 1, "", /second document/],
  ["just words", 1, 1, "", /no configuration/],
  ["- a", 1, 1, "", /no configuration/],
  ["? [a]\n: 1", 1, 3, "", /no plain word/],
  ["training: *nothing", 1, 11, "training", /alias/],
  ["training: &a {lora: *a}", 1, 21, expect.stringMatching(/^training\.lora/), /nested too deeply/],
])("%j", async (yaml, line, column, path, says) => {
  const { message, problems } = await problemsOf(yaml);
  expect(problems[0]).toEqual({ path, line, column, message: expect.stringMatching(says) });
  expect(message).toContain(`clara.yaml:${line}:${column}`);
  // What stood there in the first place is right, so that nothing else is told.
  if (path !== "") expect(problems).toHaveLength(1);
});

test("all that is wrong is told at once, in the order of the file", async () => {
  const yaml = "router: {default_adaptr: x}\ntraining:\n  lora: {r: 0}\n  qlora: {r: 0}\nsecurity: {https_only: true}\n";
  const { message, problems } = await problemsOf(yaml, { environment: { CLARA_TRAINING_DEFAULT_TRAINER: "x" } });
  expect(problems.map(({ line, variable }) => line ?? variable)).toEqual(["CLARA_TRAINING_DEFAULT_TRAINER", 1, 3, 4, 5]);
  expect(message).toMatch(/clara\.yaml has 5 problems:\n {2}CLARA_TRAINING_DEFAULT_TRAINER: training\.default_trainer must be one of/);
});

describe("a value is never told: it may be a secret in the wrong place", () => {
  const secret = "hunter2-hunter2";
  test.each([
    `uds3: {postgresql: {host: a, password: ${secret}}, chromadb: {host: a}, neo4j: {host: a}}`,
    `uds3: {postgresql: {host: "app:${secret}@a"}, chromadb: {host: a}, neo4j: {host: a}}`,
    `training: {default_trainer: ${secret}}`,
    `training: {lora: {r: ${secret}}}`,
    `services: {main_backend: ${secret}}`,
    `gpu: {max_memory: ${secret}}`,
    `system: {name: "x ${secret}\n  \\q ${secret}"}`,
    `system: {name: "x ${secret}`,
    `system: @${secret}`,
    `system: *${secret}`,
    `system: !${secret} x`,
    secret,
  ])("%j", async (yaml) => {
    const { message, problems } = await problemsOf(yaml, { environment: { UDS3_NEO4J_HOST: `a/${secret}` } });
    expect(message + JSON.stringify(problems)).not.toContain(secret);
  });
});

describe("a file that cannot be read", () => {
  test.each([
    ["is not there", "nothing.yaml", /nothing\.yaml is not there/],
    ["is a folder", "folder", /folder is a folder/],
    ["stands below a file", "clara.yaml/x.yaml", /x\.yaml is not there/],
  ])("%s", async (_what, name, says) => {
    await mkdir(folder.path("folder"), { recursive: true });
    await loadText("");
    await expect(loadConfig(folder.path(name))).rejects.toMatchObject({ code: "config_invalid", message: expect.stringMatching(says) });
  });

  test("is too large, even without an end", async () => {
    const { message } = await problemsOf(`system: {name: ${"x".repeat(70_000)}}`);
    expect(message).toMatch(/64 KiB/);
    await expect(loadConfig("/dev/zero")).rejects.toMatchObject({ message: expect.stringMatching(/64 KiB/) });
  });

  test("is not UTF-8", async () => {
    const { problems } = await problemsOf(Buffer.from("system:\n  name: Müller\n", "latin1"));
    expect(problems).toEqual([{ path: "", line: 2, column: 10, message: expect.stringMatching(/UTF-8/) }]);
  });

  test("is no path at all", async () => {
    await expect(loadConfig("")).rejects.toMatchObject({ code: "config_invalid" });
    await expect(loadConfig(undefined as unknown as string)).rejects.toMatchObject({ code: "config_invalid" });
  });
});

test("misspelt options are refused, and an abort ends the reading", async () => {
  await expect(loadText("", { enviroment: {} } as never)).rejects.toMatchObject({ details: { unknown: ["enviroment"] } });
  await expect(loadText("", { enforcedByHost: ["jwt"] as never })).rejects.toMatchObject({ code: "config_invalid" });
  await expect(loadText("", { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
});

test.each([
  [
    "an alias of aliases",
    `a: &a0 [${"x,".repeat(9)}x]\n${[1, 2, 3, 4, 5, 6].map((n) => `a${n}: &a${n} [${`*a${n - 1},`.repeat(9)}1]`).join("\n")}`,
  ],
  ["brackets", "a: ".concat("[".repeat(60_000))],
  ["braces", "{a: ".repeat(15_000)],
  ["dashes", "- ".repeat(30_000)],
  ["dashes in lines", `system:\n  name:\n${"- ".repeat(30_000)}x`],
  ["question marks", "? ".repeat(30_000)],
  ["colons", ": ".repeat(30_000)],
])("%s without measure are refused", async (_what, yaml) => {
  const { problems } = await problemsOf(yaml);
  expect(problems.map(({ message }) => message).join()).toMatch(/nested too deeply|repeats itself/);
});

test("thousands of keys take no more than their number", async () => {
  const keys = Array.from({ length: 9_000 }, (_, index) => `k${index}:`).join("\n");
  const { problems } = await problemsOf(keys);
  expect(problems).toHaveLength(9_000);
  const { message } = await problemsOf(keys);
  expect(message.split("\n").at(-1)).toBe("  and 8980 more");
});
