import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = execa({ preferLocal: true, localDir: root });

let folder: string;
let tarball: string;
let host: string;

const addsFeedback = (header: string): string => `${header}
async function main() {
  const clara = await createClara({ database: { dataDir: process.argv[2] } });
  const receipt = await clara.pipeline.addFeedback({
    prompt: "Which key opens the chapel?", response: "I do not know that yet.", rating: -1,
    correction: "You need key B12 for the chapel.", subjectId: "user-7",
  });
  const ledger = await clara.pipeline.ledger();
  await clara.close();
  console.log(JSON.stringify({ status: receipt.status, accepted: ledger.accepted }));
}
main();
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-package-"));
  // The build step made dist; packing must not build again beside running tests.
  await run({ cwd: root })`npm pack --ignore-scripts --pack-destination ${folder}`;
  tarball = join(folder, (await readdir(folder)).find((name) => name.endsWith(".tgz")) as string);
  host = join(folder, "host");
  await mkdir(host);
  await writeFile(join(host, "package.json"), JSON.stringify({ name: "host", private: true }));
  await run({ cwd: host })`npm install ${tarball} --prefer-offline --no-audit --no-fund`;
}, 300_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the packed tarball", () => {
  test("is clean for publint", async () => {
    const { stdout } = await run`publint run ${tarball} --strict`;
    expect(stdout).toContain("All good!");
  });

  test("has types that resolve everywhere an ES module can be imported", async () => {
    await run`attw ${tarball} --profile esm-only`;
  });

  test("brings no tests, no recipes and no caches", async () => {
    const { stdout } = await run`tar -tzf ${tarball}`;
    const files = stdout.split("\n");
    expect(files).toContain("package/gpu-runtime/clara_runtime/train.py");
    expect(files).toContain("package/dist/index.d.ts");
    expect(files.filter((name) => /\/tests?\/|__pycache__|\.pytest_cache|recipes\//.test(name))).toEqual([]);
  });

  test("has no install script", async () => {
    const { stdout } = await run`tar -xzOf ${tarball} package/package.json`;
    const { scripts } = JSON.parse(stdout) as { scripts: Record<string, string> };
    expect(Object.keys(scripts).filter((name) => /^(pre|post)?install$|^prepare$/.test(name))).toEqual([]);
  });

  test.each([
    ["an ES module", "host.mjs", 'import { createClara } from "clara-sdk";'],
    ["a CommonJS", "host.cjs", 'const { createClara } = require("clara-sdk");'],
  ])("runs in %s host", async (_kind, name, header) => {
    await writeFile(join(host, name), addsFeedback(header));
    const { stdout } = await run({ cwd: host })`node ${name} ${join(folder, `${name}-data`)}`;
    expect(JSON.parse(stdout)).toEqual({ status: "accepted", accepted: 1 });
  });

  test("compiles and runs in a TypeScript host", async () => {
    await writeFile(join(host, "host.mts"), addsFeedback('import { createClara } from "clara-sdk";'));
    const flags = ["--strict", "--target", "es2023", "--module", "nodenext", "--types", "node", "--skipLibCheck", "--outDir", "out"];
    const typeRoots = ["--typeRoots", join(root, "node_modules/@types")];
    await run({ cwd: host })`tsc ${flags} ${typeRoots} host.mts`;
    const { stdout } = await run({ cwd: host })`node out/host.mjs ${join(folder, "typescript-data")}`;
    expect(JSON.parse(stdout)).toEqual({ status: "accepted", accepted: 1 });
  });

  test("names the package to install where a client of one's own databases is missing", async () => {
    const code = `
      import { Uds3 } from "clara-sdk/uds3";
      const uds3 = new Uds3({ postgres: "postgres://127.0.0.1:9/x", chroma: "http://127.0.0.1:9", neo4j: { url: "bolt://127.0.0.1:9" } });
      await uds3.search({ queryText: "x", searchTypes: ["graph"] }).catch(({ code, message }) => console.log(code, message));
      await uds3.close();`;
    await writeFile(join(host, "uds3.mjs"), code);
    const { stdout } = await run({ cwd: host })`node uds3.mjs`;
    expect(stdout).toContain("config_invalid");
    expect(stdout).toContain("npm install neo4j-driver");
  });

  test("brings the clara command", async () => {
    const { stdout } = await run({ cwd: host })`npx clara --version`;
    expect(stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
  });
});
