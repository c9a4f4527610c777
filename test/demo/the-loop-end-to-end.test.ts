import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DemoReport } from "../../src/cli/demo/report.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const clara = (...args: string[]) =>
  execa("node", ["dist/cli/main.js", ...args], { cwd: root, preferLocal: true, localDir: root, reject: false });
const demo = (...args: string[]) => clara("demo", ...args);

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clara-demo-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the loop, end to end", () => {
  let report: DemoReport;
  let exitCode: number | undefined;

  beforeAll(async () => {
    const file = join(folder, "report.json");
    const result = await demo("--json", file, "--keep", join(folder, "state"));
    exitCode = result.exitCode;
    report = JSON.parse(
      await readFile(file, "utf8").catch(() => Promise.reject(new Error(`no report:\n${result.stdout}\n${result.stderr}`))),
    ) as DemoReport;
  }, 600_000);

  test("feedback becomes adapters that answer what the base could not", () => {
    expect(report.problems).toEqual([]);
    expect(exitCode).toBe(0);
    expect(report.domains.map((domain) => [domain.domain, domain.activated])).toEqual([
      ["building", true],
      ["office", true],
    ]);
    for (const domain of report.domains) {
      expect(domain.exactBefore).toBeLessThan(0.1);
      expect(domain.exactAfter).toBeGreaterThan(0.6);
      expect(domain.perplexityAfter as number).toBeLessThan((domain.perplexityBefore as number) * 0.95);
    }
  });

  test("what users corrected is answered right at once, and still when the adapter knows it and the memory is gone", () => {
    const memory = report.memory!;
    expect(memory.exactBefore).toBeLessThan(0.1);
    expect(memory.exactAtOnce).toBeGreaterThan(0.7);
    expect(memory.retired).toBeGreaterThan(memory.count / 2);
    expect(memory.exactRetired).toBeGreaterThan(0.8);
    expect(memory.exactAfter).toBeGreaterThan(0.8);
    expect(memory.secondsToFirstEffect!).toBeGreaterThan(0);
    expect(memory.secondsToWeights!).toBeGreaterThan(memory.secondsToFirstEffect!);
  });

  test("paraphrases that no feedback told are answered, by the right adapter, and general questions as before", () => {
    expect(report.questions?.exactBefore).toBeLessThan(0.1);
    expect(report.questions?.exactAfter).toBeGreaterThan(0.6);
    expect(report.general.exactAfter).toBeGreaterThanOrEqual(report.general.exactBefore - 0.05);
    expect(report.routing.correct / report.routing.total).toBeGreaterThan(0.9);
  });

  test("spoiled feedback is refused with its reasons", () => {
    expect(report.rejected.map((entry) => entry.domain)).toEqual(["building"]);
    expect(report.rejected[0]?.reasons.length).toBeGreaterThan(0);
  });

  test("nothing is lost, nothing used twice, and the answers outlive a stop", () => {
    expect(report.ledger.lost).toBe(0);
    expect(report.ledger.usedTwice).toBe(0);
    expect(report.ledger.accepted + report.ledger.rejected + report.ledger.duplicates).toBeLessThanOrEqual(report.ledger.received);
    expect(report.reopened.exactAfter).toBeGreaterThan(0.6);
  });
});

describe("an adapter of a state that was kept", () => {
  const verify = (adapter: string) => clara("adapters", "verify", adapter, "--data", join(folder, "state"), "--json");

  test("is shown to be served as it was trained", async () => {
    const result = await verify("building@v1");
    expect(result.exitCode, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout)).toEqual([expect.objectContaining({ adapterId: "building@v1", status: "proven", problems: [] })]);
  }, 120_000);

  test("with another one in its folder fails, and is named", async () => {
    const folderOf = (adapter: string) => join(folder, "state", "runtime", "adapters", adapter);
    await cp(folderOf("office@v1"), folderOf("building@v1"), { recursive: true });
    const result = await verify("building@v1");
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("adapter_unproven");
    expect(result.stderr).toContain("building@v1");
  }, 120_000);

  test("that does not exist is named", async () => {
    const result = await verify("bulding@v1");
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("bulding@v1");
  }, 120_000);
});

describe("bad input to the demo", () => {
  test("a missing feedback file is named", async () => {
    const result = await demo("--feedback", join(folder, "absent.jsonl"));
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain("absent.jsonl");
  }, 120_000);

  test("an empty feedback file is named", async () => {
    const file = join(folder, "empty.jsonl");
    await writeFile(file, "\n");
    const result = await demo("--feedback", file);
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain("is empty");
  }, 120_000);
});
