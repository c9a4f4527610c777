import { afterEach, expect, test, vi } from "vitest";
import type { ClaraOptions } from "../../src/index.js";
import { loadText, problemsOf, useFolder } from "./support/load-text.js";

useFolder();
afterEach(() => vi.unstubAllEnvs());

const uds3 = "uds3: {postgresql: {host: pg, user: file}, chromadb: {host: ch}, neo4j: {host: gr}}";

test.each<[environment: Record<string, string>, yaml: string, options: ClaraOptions]>([
  [{ CLARA_TRAINING_DEFAULT_TRAINER: "lora" }, "training: {default_trainer: qlora}", { pipeline: { trainer: "lora" } }],
  [{ CLARA_TRAINING_DEFAULT_TRAINER: "" }, "training: {default_trainer: qlora}", { pipeline: { trainer: "qlora" } }],
  [{ CLARA_TRAINING_MAX_CONCURRENT_JOBS: "4" }, "", { training: { maxConcurrentJobs: 4 } }],
  [
    { CLARA_TRAINING_MAX_CONCURRENT_JOBS: "4" },
    "services: {training_backend: {max_concurrent_jobs: 1}}",
    { training: { maxConcurrentJobs: 4 } },
  ],
  [{ CLARA_TRAINING_MAX_CONCURRENT_JOBS: "4" }, "training: {max_concurrent_jobs: wrong}", { training: { maxConcurrentJobs: 4 } }],
  [
    { CLARA_TRAINING_LORA__R: "8", CLARA_TRAINING_LORA__TARGET_MODULES: "q_proj, v_proj" },
    "training: {lora: {r: 16, alpha: 32}}",
    { training: { trainers: { lora: { rank: 8, alpha: 32, targetModules: ["q_proj", "v_proj"] } } } },
  ],
  [{ CLARA_TRAINING_QLORA__BITS: "8" }, "", { training: { trainers: { qlora: { bits: 8 } } } }],
  [
    {
      UDS3_POSTGRES_HOST: "other",
      UDS3_POSTGRES_USER: "env",
      UDS3_POSTGRES_PASSWORD: "p@ss",
      UDS3_CHROMA_PORT: "9",
      UDS3_NEO4J_PASSWORD: "g",
    },
    uds3,
    {
      uds3: {
        postgres: "postgres://env:p%40ss@other:5432/postgres",
        chroma: "http://ch:9",
        neo4j: { url: "neo4j://gr:7687", auth: { user: "neo4j", password: "g" } },
      },
    },
  ],
  [
    { UDS3_POSTGRES_HOST: "a", UDS3_CHROMA_HOST: "b", UDS3_NEO4J_HOST: "c" },
    "",
    { uds3: { postgres: "postgres://a:5432/postgres", chroma: "http://b:8000", neo4j: { url: "neo4j://c:7687" } } },
  ],
  // Without a host nothing is to be connected.
  [{ UDS3_POSTGRES_PASSWORD: "p", UDS3_NEO4J_PORT: "1" }, "", {}],
])("%j over %j", async (environment, yaml, options) => {
  expect(await loadText(yaml, { environment })).toEqual(options);
});

test("CLARA_SERVICE_… is read and, as nothing here listens, named", async () => {
  const environment = { CLARA_SERVICE_NAME: "clara", CLARA_SERVICE_PORT: "45678", CLARA_SERVICE_WORKERS: "4" };
  const { notes } = await loadText("service: {port: 1}", { environment });
  expect(notes?.map(({ path, variable }) => [path, variable])).toEqual([
    ["service.name", "CLARA_SERVICE_NAME"],
    ["service.port", "CLARA_SERVICE_PORT"],
    ["service.workers", "CLARA_SERVICE_WORKERS"],
  ]);
});

test("a variable with one of the prefixes that names nothing is not an error: orchestrators set such for their services", async () => {
  const environment = { CLARA_TRAINING_DEFAULT_TRAINR: "lora", CLARA_SERVICE_PORT_80_TCP_ADDR: "10.0.0.1", CLARA_TRAINING_LORA: "x" };
  const { notes, ...options } = await loadText("", { environment });
  expect(options).toEqual({});
  expect(notes?.map(({ variable }) => variable)).toEqual(Object.keys(environment));
  expect(notes?.[0]?.message).toContain("did you mean CLARA_TRAINING_DEFAULT_TRAINER?");
});

test.each([
  ["CLARA_TRAINING_MAX_CONCURRENT_JOBS", "two", "training.max_concurrent_jobs", /a number/],
  ["CLARA_TRAINING_MAX_CONCURRENT_JOBS", "0", "training.max_concurrent_jobs", /at least 1/],
  ["CLARA_TRAINING_QLORA__BITS", "5", "training.qlora.bits", /4 or 8/],
  ["CLARA_SERVICE_PORT", "tcp://10.0.0.1:80", "service.port", /a number/],
  ["UDS3_NEO4J_HOST", "bolt://x", "uds3.neo4j.host", /no host/],
  ["UDS3_CHROMA_PORT", "0", "uds3.chromadb.port", /at least 1/],
])("what is wrong in a variable is told by its name: %s=%s", async (variable, value, path, says) => {
  const { message, problems } = await problemsOf(uds3, { environment: { [variable]: value } });
  expect(problems).toEqual([{ path, variable, message: expect.stringMatching(says) }]);
  expect(message).toContain(variable);
  expect(message).not.toContain(value);
});

test("one host in the environment asks for the others", async () => {
  const { problems } = await problemsOf("", { environment: { UDS3_NEO4J_HOST: "a" } });
  expect(problems.map(({ path }) => path)).toEqual(["uds3.postgresql", "uds3.chromadb"]);
});

test("the environment is that of the process where none is given", async () => {
  vi.stubEnv("CLARA_TRAINING_DEFAULT_TRAINER", "continuous");
  expect(await loadText("", { environment: undefined })).toEqual({ pipeline: { trainer: "continuous" } });
});
