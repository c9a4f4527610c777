import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase } from "../setup/index.js";
import { chromaUrl, neo4jUrl } from "../uds3/support/databases.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const node = join(root, "node_modules/.bin/node");
let folder: string;

/** The examples as a user has them: beside a node_modules that holds the built package. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-examples-"));
  await mkdir(join(folder, "node_modules"));
  await symlink(root, join(folder, "node_modules/clara-sdk"));
  await symlink(join(root, "node_modules/express"), join(folder, "node_modules/express"));
  await cp(join(root, "examples"), join(folder, "examples"), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("quickstart asks, corrects and stores", async () => {
  const { stdout } = await execa(node, ["quickstart.ts"], {
    cwd: join(folder, "examples/quickstart"),
    env: { DATA_DIR: join(folder, "quickstart-data") },
  });
  expect(stdout).toMatch(/^answer: \S/m);
  expect(stdout).toContain("feedback: accepted");
  expect(stdout).toContain('waiting: {"general":1}');
}, 300_000);

test("the Express chatbot answers and takes feedback", async () => {
  const child: ChildProcess = spawn(node, ["server.ts"], {
    cwd: join(folder, "examples/express-chatbot"),
    env: { ...process.env, DATA_DIR: join(folder, "chatbot-data"), PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  try {
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
        const found = /listening on (\S+)/.exec(line)?.[1];
        if (found) resolve(found);
      });
      child.once("exit", (code) => reject(new Error(`the chatbot ended with ${code}`)));
    });
    const post = async (path: string, body: unknown): Promise<{ status: number; body: Record<string, unknown> }> => {
      const response = await fetch(`${url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const reply = await post("/chat", { messages: [{ role: "user", content: "Who are you?" }] });
    expect(reply).toMatchObject({ status: 200, body: { adapter: null } });
    expect(reply.body.text).toBe("I am a small assistant.");
    const receipt = await post("/feedback", { generationId: reply.body.id, rating: 1, user: "user-7" });
    expect(receipt).toMatchObject({ status: 200, body: { status: "accepted" } });
    const unknown = await post("/feedback", { generationId: "gen_nobody", rating: 1 });
    expect(unknown).toMatchObject({ status: 400, body: { code: "generation_not_found" } });
  } finally {
    child.kill("SIGTERM");
    const [code] = await exit;
    expect(code).toBe(0);
  }
}, 300_000);

test("documents in one's own databases are found by all three legs", async () => {
  const database = await createDatabase();
  try {
    const { stdout } = await execa(node, ["uds3.ts"], {
      cwd: join(folder, "examples/uds3"),
      env: { DATA_DIR: join(folder, "uds3-data"), POSTGRES_URL: database.url, CHROMA_URL: await chromaUrl(), NEO4J_URL: await neo4jUrl() },
    });
    expect(stdout).toMatch(/^documents: 2 added, 0 known$/m);
    expect(stdout).toMatch(/^building-code-58: 0\.\d\d by graph, keyword, vector$/m);
    expect(stdout).toMatch(/^solar-guide: 0\.\d\d by .*graph/m);
    expect(stdout).toMatch(/^missing: \[\]$/m);
  } finally {
    await database.drop();
  }
}, 300_000);
